//! AUTH: checks the login of a client and sends the reply when it is due.

use relay_message::QueueStore;
use relay_smtp::sasl::{Mechanism, UserName};
use relay_smtp::server::{Credentials, replies};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Connection;
use crate::auth::{LoginAttempt, LoginFailure};
use crate::events::LoginResult;
use crate::{clock, events};

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// PLAIN and LOGIN: checks a password.
    pub(super) async fn log_in(&mut self, credentials: Credentials) {
        let Credentials {
            mechanism,
            user,
            secret,
        } = credentials;
        let Some(users) = self.config.users.clone() else {
            return self.session.refuse(&replies::authentication_unavailable());
        };
        let authenticator = &self.shared.authenticator;
        match authenticator
            .check(&self.attempt(&user), secret, &*users)
            .await
        {
            Ok(()) => self.let_in(mechanism, user),
            Err(failed) => self.refuse_login(mechanism, &user, failed).await,
        }
    }

    /// SCRAM: answers the user name with a challenge. A user that does not exist gets a challenge
    /// as well.
    pub(super) fn challenge(&mut self, user: &UserName) {
        let Some(users) = self.config.users.as_deref() else {
            return self.session.refuse(&replies::authentication_unavailable());
        };
        let authenticator = &self.shared.authenticator;
        if authenticator.is_locked_out(&self.attempt(user)) {
            self.refuse_locked_out(Mechanism::ScramSha256, user);
        } else {
            let (verifier, nonce) = authenticator.challenge(user, users);
            self.session.continue_scram(verifier, &nonce);
        }
    }

    /// SCRAM: handles the proof, which the session has already checked.
    pub(super) async fn finish_scram(&mut self, user: UserName, verified: bool) {
        let users = self.config.users.as_deref();
        let exists = users.is_some_and(|users| users.find(user.as_str()).is_some());
        let (authenticator, attempt) = (&self.shared.authenticator, self.attempt(&user));
        if verified && exists && !authenticator.is_locked_out(&attempt) {
            authenticator.succeeded(&attempt);
            self.let_in(Mechanism::ScramSha256, user);
        } else {
            let failed = authenticator.failed(&attempt, clock::now());
            self.refuse_login(Mechanism::ScramSha256, &user, failed)
                .await;
        }
    }

    fn attempt<'a>(&self, user: &'a UserName) -> LoginAttempt<'a> {
        LoginAttempt {
            client: self.client.id,
            user,
            failed_before: self.failed_logins,
            limits: self.config.auth,
        }
    }

    fn let_in(&mut self, mechanism: Mechanism, user: UserName) {
        events::login(self.client.id, mechanism, &user, LoginResult::Ok);
        self.session.accept_user(user);
    }

    async fn refuse_login(&mut self, mechanism: Mechanism, user: &UserName, failed: LoginFailure) {
        match failed {
            LoginFailure::LockedOut => self.refuse_locked_out(mechanism, user),
            LoginFailure::Busy => {
                events::login(self.client.id, mechanism, user, LoginResult::Busy);
                self.session.refuse(&replies::authentication_unavailable());
            }
            LoginFailure::Wrong { until, locked_out } => {
                self.failed_logins += 1;
                events::login(self.client.id, mechanism, user, LoginResult::Wrong);
                wait(until, &self.shared.stopping).await;
                self.session.refuse(&if locked_out {
                    replies::too_many_failures()
                } else {
                    replies::authentication_failed()
                });
            }
        }
    }

    /// Refuses a client that is locked out, without checking what it sent.
    fn refuse_locked_out(&mut self, mechanism: Mechanism, user: &UserName) {
        events::login(self.client.id, mechanism, user, LoginResult::LockedOut);
        self.session.refuse(&replies::too_many_failures());
    }
}

/// Waits until the reply is due. Only the session is kept meanwhile. A shutdown ends the wait.
async fn wait(until: Instant, stopping: &CancellationToken) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = stopping.cancelled() => {}
    }
}
