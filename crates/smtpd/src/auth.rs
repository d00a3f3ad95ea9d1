//! Logins: users, passwords, and penalties for failures.
//!
//! Password hashes are computed on blocking threads, a few at a time. A success is cached for some
//! minutes. Failures are counted and answered with a delay; too many of them lock the client out.

mod authenticator;
mod failures;
mod password;
mod per_client_lock;
mod verified_cache;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use relay_smtp::sasl::scram::ScramVerifier;

use relay_smtp::pattern::AddressPattern;

pub(crate) use authenticator::{Authenticator, LoginAttempt, LoginFailure};
pub use password::{PasswordHash, PasswordHashError};

/// A user who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// For PLAIN and LOGIN.
    pub password: PasswordHash,
    /// For SCRAM-SHA-256.
    pub scram: ScramVerifier,
    /// The senders that the user may use; if empty, all senders.
    pub senders: Vec<AddressPattern>,
}

/// The current users.
pub trait Users: fmt::Debug + Send + Sync {
    /// Returns the user of exactly this name. It is called at each login, so it must be fast.
    fn find(&self, name: &str) -> Option<User>;
}

/// The clients that may currently relay for a limited time.
pub trait TemporaryRelay: fmt::Debug + Send + Sync {
    /// Whether this client may relay.
    fn may_relay(&self, client: IpAddr) -> bool;
}

/// No client may relay temporarily.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoTemporaryRelay;

impl TemporaryRelay for NoTemporaryRelay {
    fn may_relay(&self, _: IpAddr) -> bool {
        false
    }
}

/// The limits for failed logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthLimits {
    /// How long a client is locked out after too many failures. Older failures do not count.
    pub lockout: Duration,
}

impl Default for AuthLimits {
    fn default() -> Self {
        Self {
            lockout: Duration::from_mins(10),
        }
    }
}
