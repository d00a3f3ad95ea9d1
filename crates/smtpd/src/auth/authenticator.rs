//! The one way from a password to a login.

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

use super::failures::{Failure, Failures};
use super::password::PasswordHash;
use super::per_client_lock::PerClientLocks;
use super::verified_cache::{VerifiedCache, VerifiedLogin};
use super::{AuthLimits, User, Users};
use crate::client::ClientId;
use crate::clock;

/// How long a login may wait until its hash is computed.
const WAIT: Duration = Duration::from_secs(30);
/// Iterations and octets of salt of the verifiers that `relayctl user` makes, so that an invented
/// one looks the same.
const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
const SALT: usize = 16;

/// What all logins of the server share.
#[derive(Debug)]
pub(crate) struct Authenticator {
    records: Mutex<LoginRecords>,
    locks: Arc<PerClientLocks>,
    /// Hashes under way: half of the processors are left to those who have logged in.
    hashing: Arc<Semaphore>,
    /// For what is invented for users who do not exist.
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

/// Who tries to log in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginAttempt<'a> {
    pub(crate) client: ClientId,
    pub(crate) user: &'a UserName,
    /// How often this session has failed before.
    pub(crate) failed_before: u32,
    pub(crate) limits: AuthLimits,
}

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// Wrong, unknown or empty: which of them is nobody's processing.
    Wrong {
        /// When the client may be told.
        until: Instant,
        /// That was once too often.
        shut_out: bool,
    },
    /// The client has failed too often before.
    ShutOut,
    /// Too many wait for their hash.
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

    /// Whether this client may not even try.
    pub(crate) fn is_shut_out(&self, attempt: &LoginAttempt<'_>) -> bool {
        let now = clock::now().into_std();
        let lockout = attempt.limits.lockout;
        self.lock()
            .failures
            .is_shut_out(attempt.client, now, lockout)
    }

    /// Checks a password: at once if it was right a short while ago, else by its hash.
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
        // It ends when the verdict is counted, so that nobody has more guesses than they may by
        // making them at the same time.
        let turn = timeout(WAIT, self.locks.take(attempt.client.counted_as())).await;
        let _turn = turn.map_err(|_| LoginFailure::Busy)?;
        // Much may have happened in the meantime.
        if let Some(verdict) = self.known(attempt, &password, found.as_ref()) {
            return verdict;
        }
        let hash = match &found {
            Some(user) => user.password.clone(),
            None => PasswordHash::nobodys(),
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

    /// Whether the hash is the password's, computed off the async threads; gives the password back.
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
            // It is held to the end of the work, even if nobody waits for it any more.
            drop(slot);
            (is_right, password)
        });
        hashed.await.map_err(|_| LoginFailure::Busy)
    }

    /// What needs no hash: clients that are shut out, and logins that succeeded of late.
    fn known(
        &self,
        attempt: &LoginAttempt<'_>,
        password: &Secret,
        found: Option<&User>,
    ) -> Option<Result<(), LoginFailure>> {
        let now = clock::now().into_std();
        let lockout = attempt.limits.lockout;
        let mut records = self.lock();
        if records.failures.is_shut_out(attempt.client, now, lockout) {
            return Some(Err(LoginFailure::ShutOut));
        }
        let login = login(attempt, password, found?);
        if !records.verified.knows(&login, now) {
            return None;
        }
        records.forgive(attempt);
        Some(Ok(()))
    }

    /// What SCRAM needs to know of a user, who may not exist, and our part of its nonce.
    pub(crate) fn challenge(&self, user: &UserName, users: &dyn Users) -> (ScramVerifier, Nonce) {
        let mut random = [0; Nonce::RANDOM];
        fill_randomly(&mut random);
        let verifier = match users.find(user.as_str()) {
            Some(user) => user.scram,
            None => self.invent(user),
        };
        (verifier, Nonce::from_random(random))
    }

    /// The same for the same name, as a real user's would be; nobody knows a password for it.
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

    /// A login by whichever mechanism has succeeded.
    pub(crate) fn succeeded(&self, attempt: &LoginAttempt<'_>) {
        self.lock().forgive(attempt);
    }

    /// A login by whichever mechanism has failed; it `began` when all was there to judge it by, and
    /// its answer comes the same time after that, however long the judgement took.
    pub(crate) fn failed(&self, attempt: &LoginAttempt<'_>, began: Instant) -> LoginFailure {
        let failure = Failure {
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
            shut_out: penalty.shut_out,
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
