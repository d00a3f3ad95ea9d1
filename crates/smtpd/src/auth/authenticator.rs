//! Checks passwords and SCRAM proofs, and decides whether a client is logged in.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::sasl::{Secret, UserName, prepare};
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::{Instant, timeout};

use super::failures::{FailedLogin, Failures};
use super::password::PasswordHash;
use super::per_client_lock::PerClientLocks;
use super::verified_cache::{VerifiedCache, VerifiedLogin};
use super::{AuthLimits, User, Users};
use crate::client::ClientId;
use crate::clock;

/// How long a login may wait for its hash to be computed.
const WAIT: Duration = Duration::from_secs(30);
/// The iteration count and the salt length (in octets) of the verifiers that `relayctl user` makes.
/// An invented verifier uses the same values, so it looks the same.
const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
const SALT: usize = 16;

/// The state that all logins of the server share.
#[derive(Debug)]
pub(crate) struct Authenticator {
    records: Mutex<LoginRecords>,
    locks: Arc<PerClientLocks>,
    /// Limits the hashes that are computed at a time. Half of the processors stay free for clients
    /// that have already logged in.
    hashing: Arc<Semaphore>,
    /// The key for the invented verifiers of users that do not exist.
    secret: [u8; 32],
}

#[derive(Debug)]
struct LoginRecords {
    failures: Failures,
    verified: VerifiedCache,
}

impl LoginRecords {
    fn forgive(&mut self, attempt: &LoginAttempt<'_>) {
        let LoginAttempt { client, user, .. } = attempt;
        self.failures.forgive(*client, user.as_str());
    }
}

/// The client that tries to log in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginAttempt<'a> {
    pub(crate) client: ClientId,
    pub(crate) user: &'a UserName,
    /// How many logins have failed earlier in this session.
    pub(crate) failed_before: u32,
    pub(crate) limits: AuthLimits,
}

/// Why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// The password is wrong or empty, or the user is unknown. The client cannot tell these cases
    /// apart.
    Wrong {
        /// When the client may get its reply.
        until: Instant,
        /// Whether the session has now had too many failures.
        locked_out: bool,
    },
    /// The client is locked out because of earlier failures.
    LockedOut,
    /// Too many logins are waiting for their hash.
    Busy,
}

impl Authenticator {
    pub(crate) fn new() -> Self {
        let mut secret = [0; 32];
        fill_randomly(&mut secret);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            records: Mutex::new(LoginRecords {
                failures: Failures::default(),
                verified: VerifiedCache::new(),
            }),
            locks: Arc::default(),
            hashing: Arc::new(Semaphore::new((processors / 2).max(1))),
            secret,
        }
    }

    /// Whether this client is locked out.
    pub(crate) fn is_locked_out(&self, attempt: &LoginAttempt<'_>) -> bool {
        let now = clock::now().into_std();
        let lockout = attempt.limits.lockout;
        self.lock()
            .failures
            .is_locked_out(attempt.client, now, lockout)
    }

    /// Checks a password. If the same login succeeded recently, the answer comes from the cache;
    /// otherwise the hash is computed.
    pub(crate) async fn check(
        &self,
        attempt: &LoginAttempt<'_>,
        password: Secret,
        users: &dyn Users,
    ) -> Result<(), LoginFailure> {
        let began = clock::now();
        let found = users.find(attempt.user.as_str());
        if let Some(verdict) = self.known(attempt, &password, found.as_ref()) {
            return verdict;
        }
        // The lock is held until the result is counted, so a client cannot get more guesses by
        // making them at the same time.
        let turn = timeout(WAIT, self.locks.take(attempt.client.counted_as())).await;
        let _turn = turn.map_err(|_| LoginFailure::Busy)?;
        // The state may have changed while this login waited.
        if let Some(verdict) = self.known(attempt, &password, found.as_ref()) {
            return verdict;
        }
        let hash = match &found {
            Some(user) => user.password.clone(),
            None => PasswordHash::of_unknown_user(),
        };
        let (is_right, password) = self.compare(hash, password).await?;
        match found {
            Some(user) if is_right => {
                let login = login(attempt, &password, &user);
                let now = clock::now().into_std();
                self.lock().verified.remember(&login, now);
                self.succeeded(attempt);
                Ok(())
            }
            _ => Err(self.failed(attempt, began)),
        }
    }

    /// Whether the hash belongs to the password. The hash is computed outside the async threads.
    /// The password is returned.
    async fn compare(
        &self,
        hash: PasswordHash,
        password: Secret,
    ) -> Result<(bool, Secret), LoginFailure> {
        let slot = timeout(WAIT, Arc::clone(&self.hashing).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(LoginFailure::Busy);
        };
        let hashed = task::spawn_blocking(move || {
            let is_right = hash.is_of(&prepare(password.expose()));
            // The permit is held until the hash is computed, even if the client is gone.
            drop(slot);
            (is_right, password)
        });
        hashed.await.map_err(|_| LoginFailure::Busy)
    }

    /// Answers without a hash: for clients that are locked out, and for logins that succeeded
    /// recently.
    fn known(
        &self,
        attempt: &LoginAttempt<'_>,
        password: &Secret,
        found: Option<&User>,
    ) -> Option<Result<(), LoginFailure>> {
        let now = clock::now().into_std();
        let lockout = attempt.limits.lockout;
        let mut records = self.lock();
        if records.failures.is_locked_out(attempt.client, now, lockout) {
            return Some(Err(LoginFailure::LockedOut));
        }
        let login = login(attempt, password, found?);
        if !records.verified.knows(&login, now) {
            return None;
        }
        records.forgive(attempt);
        Some(Ok(()))
    }

    /// Returns the verifier of a user, or an invented one if the user does not exist, and our part
    /// of the nonce.
    pub(crate) fn challenge(&self, user: &UserName, users: &dyn Users) -> (ScramVerifier, Nonce) {
        let mut random = [0; Nonce::RANDOM];
        fill_randomly(&mut random);
        let verifier = match users.find(user.as_str()) {
            Some(user) => user.scram,
            None => self.invent(user),
        };
        (verifier, Nonce::from_random(random))
    }

    /// Invents a verifier. It is always the same for the same name, as a real one would be, and no
    /// password fits it.
    fn invent(&self, user: &UserName) -> ScramVerifier {
        let derive = |purpose: &[u8]| {
            let mut context = digest::Context::new(&digest::SHA256);
            for part in [&self.secret, purpose, user.as_str().as_bytes()] {
                context.update(part);
            }
            let mut derived = [0; 32];
            derived.copy_from_slice(context.finish().as_ref());
            derived
        };
        ScramVerifier {
            iterations: SCRAM_ITERATIONS,
            salt: derive(b"salt")[..SALT].to_vec(),
            stored_key: derive(b"stored key"),
            server_key: derive(b"server key"),
        }
    }

    /// Records a successful login, by any mechanism.
    pub(crate) fn succeeded(&self, attempt: &LoginAttempt<'_>) {
        self.lock().forgive(attempt);
    }

    /// Records a failed login, by any mechanism. `began` is when the check could start. The reply
    /// comes a fixed time after that, however long the check took.
    pub(crate) fn failed(&self, attempt: &LoginAttempt<'_>, began: Instant) -> LoginFailure {
        let failure = FailedLogin {
            client: attempt.client,
            user: attempt.user.as_str(),
            in_session: attempt.failed_before + 1,
        };
        let now = clock::now().into_std();
        let penalty = self
            .lock()
            .failures
            .count(&failure, now, attempt.limits.lockout);
        LoginFailure::Wrong {
            until: began + penalty.delay,
            locked_out: penalty.locked_out,
        }
    }

    fn lock(&self) -> MutexGuard<'_, LoginRecords> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn login<'a>(
    attempt: &LoginAttempt<'a>,
    password: &'a Secret,
    user: &'a User,
) -> VerifiedLogin<'a> {
    VerifiedLogin {
        user: attempt.user.as_str(),
        password: password.expose(),
        hash: &user.password,
    }
}

fn fill_randomly(octets: &mut [u8]) {
    rand::fill(octets).expect("the system has random octets");
}

#[cfg(test)]
mod tests;
