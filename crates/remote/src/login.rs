//! The credentials that a session logs in with.

use std::sync::Arc;

use aws_lc_rs::rand;
use relay_smtp::Peer;
use relay_smtp::client::{Credentials, Proof};
use relay_smtp::sasl::Secret;
use relay_smtp::sasl::scram::Nonce;

use crate::credentials::{RouteCredentials, SecretSource};
use crate::secrets::{FetchedSecret, SecretUnavailable, Secrets};

/// Credentials for one session.
#[derive(Debug)]
pub(crate) struct SessionLogin {
    pub(crate) credentials: Credentials,
    /// Whether the secret came from the cache. If it is rejected, a new one may work.
    pub(crate) was_cached: bool,
}

impl SessionLogin {
    /// Combines the user name with a cached secret or a new one.
    pub(crate) async fn new(
        secrets: &Secrets,
        of: &Arc<RouteCredentials>,
        peer: &Peer,
    ) -> Result<Self, SecretUnavailable> {
        let FetchedSecret { secret, was_cached } = secrets.get(of).await?;
        let mut random = [0; Nonce::RANDOM];
        rand::fill(&mut random).map_err(|_| SecretUnavailable::NoRandomness)?;
        let credentials = Credentials {
            user: of.username().clone(),
            proof: match of.source() {
                SecretSource::PasswordFile(_) | SecretSource::PasswordCommand(_) => {
                    Proof::Password(secret)
                }
                SecretSource::TokenCommand { .. } => Proof::Token(secret),
            },
            in_clear: peer.address.ip().to_canonical().is_loopback(),
            nonce: Nonce::from_random(random),
        };
        Ok(Self {
            credentials,
            was_cached,
        })
    }

    pub(crate) fn secret(&self) -> &Secret {
        match &self.credentials.proof {
            Proof::Password(secret) | Proof::Token(secret) => secret,
        }
    }
}
