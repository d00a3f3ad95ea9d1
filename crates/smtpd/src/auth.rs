//! Who may log in, and what guessing costs.
//!
//! A password is checked against its hash off the async threads, a few at a time; a success is
//! remembered for some minutes; a failure is counted, answered late, and in the end cut off.

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

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// For PLAIN and LOGIN.
    pub password: PasswordHash,
    /// For SCRAM-SHA-256.
    pub scram: ScramVerifier,
    /// The senders that they may use; any, if there are none.
    pub senders: Vec<AddressPattern>,
}

/// The users, as they are now.
pub trait Users: fmt::Debug + Send + Sync {
    /// The user of exactly this name. Called at each login, so it must not take long.
    fn find(&self, name: &str) -> Option<User>;
}

/// Clients that may relay for a time, as they are now.
pub trait TemporaryRelay: fmt::Debug + Send + Sync {
    /// Whether this client may.
    fn may_relay(&self, client: IpAddr) -> bool;
}

/// No client may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoTemporaryRelay;

impl TemporaryRelay for NoTemporaryRelay {
    fn may_relay(&self, _: IpAddr) -> bool {
        false
    }
}

/// What the operator decides about failed logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthLimits {
    /// How long a client that has failed too often is refused; failures that lie further back
    /// than this do not count.
    pub lockout: Duration,
}

impl Default for AuthLimits {
    fn default() -> Self {
        Self {
            lockout: Duration::from_mins(10),
        }
    }
}
