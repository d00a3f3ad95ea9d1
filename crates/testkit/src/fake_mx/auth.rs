//! AUTH of the fake server, with all mechanisms that the relay's client supports.

use std::io::{Error, ErrorKind, Result};

use relay_smtp::sasl::scram::server::ClientFirst;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::sasl::{Secret, base64};

use super::session::Session;

/// The user who may log in, with the password or token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FakeUser {
    pub(super) name: String,
    pub(super) secret: String,
}

impl Session {
    /// Runs the whole exchange. The step of the stage `auth` decides. Without one the reply is 235
    /// if the credentials are right or no user was set.
    pub(super) async fn auth(&mut self, line: &str) -> Result<()> {
        let mut words = line.split(' ').skip(1);
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next().map(ToOwned::to_owned);
        let is_good = match mechanism.as_str() {
            "PLAIN" => self.plain(initial).await?,
            "LOGIN" => self.login(initial).await?,
            "SCRAM-SHA-256" => self.scram(initial).await?,
            "XOAUTH2" => {
                self.token(initial, |user, token| {
                    format!("user={user}\x01auth=Bearer {token}\x01\x01")
                })
                .await?
            }
            "OAUTHBEARER" => {
                self.token(initial, |user, token| {
                    format!("n,a={user},\x01auth=Bearer {token}\x01\x01")
                })
                .await?
            }
            _ => return self.say(b"504 5.5.4 unknown mechanism\r\n").await,
        };
        let reply = if is_good {
            "235 2.7.0 welcome"
        } else {
            "535 5.7.8 no"
        };
        let is_in = self.reply("auth", reply).await? == b'2';
        self.user = if is_in { Some(mechanism) } else { None };
        Ok(())
    }

    async fn plain(&mut self, initial: Option<String>) -> Result<bool> {
        let message = self.response(initial, "").await?;
        let user = self.expected();
        Ok(user.is_none_or(|u| message == format!("\0{}\0{}", u.name, u.secret).as_bytes()))
    }

    async fn login(&mut self, initial: Option<String>) -> Result<bool> {
        let name = self.response(initial, "Username:").await?;
        let password = self.response(None, "Password:").await?;
        let user = self.expected();
        Ok(user.is_none_or(|u| name == u.name.as_bytes() && password == u.secret.as_bytes()))
    }

    /// Needs a user, because the server cannot check a proof without the password.
    async fn scram(&mut self, initial: Option<String>) -> Result<bool> {
        let user = self.expected().expect("SCRAM needs a user: FakeMx::login");
        let message = self.response(initial, "").await?;
        let first = ClientFirst::parse(&message).expect("the first message of SCRAM");
        let is_user = first.user().as_str() == user.name;
        let password = Secret::new(user.secret).expect("a password");
        let verifier = ScramVerifier::from_password(
            &password,
            b"salt of a test".to_vec(),
            ScramVerifier::MIN_ITERATIONS,
        );
        let nonce = Nonce::from_random([7; Nonce::RANDOM]);
        let (challenge, text) = first.challenge(verifier, &nonce);
        let answer = self.response(None, &text).await?;
        let (_, proof) = challenge
            .check(&answer)
            .expect("the final message of SCRAM");
        match proof {
            Some(proof) if is_user => {
                let end = self.response(None, &proof.message()).await?;
                Ok(end.is_empty())
            }
            _ => Ok(false),
        }
    }

    async fn token(
        &mut self,
        initial: Option<String>,
        message: impl Fn(&str, &str) -> String,
    ) -> Result<bool> {
        let sent = self.response(initial, "").await?;
        let user = self.expected();
        let is_good = user.is_none_or(|u| {
            let expected = message(&u.name, &u.secret);
            let sent = String::from_utf8_lossy(&sent);
            // RFC 7628 §3.1 allows host and port in between.
            let (start, end) = expected.split_once("auth=").expect("as above");
            sent.starts_with(start) && sent.ends_with(&format!("auth={end}"))
        });
        if !is_good {
            // Both mechanisms send the error as a challenge and wait for the client to cancel.
            self.response(None, r#"{"status":"invalid_token"}"#).await?;
        }
        Ok(is_good)
    }

    /// The client's next message: the initial response, or the answer to a challenge.
    async fn response(&mut self, initial: Option<String>, challenge: &str) -> Result<Vec<u8>> {
        let line = match initial {
            Some(initial) if initial == "=" => String::new(),
            Some(initial) => initial,
            None => {
                let challenge = base64::encode(challenge.as_bytes());
                let line = format!("334 {}\r\n", *challenge);
                self.say(line.as_bytes()).await?;
                self.command().await?
            }
        };
        let decoded = base64::decode(line.as_bytes());
        decoded
            .map(|octets| octets.to_vec())
            .map_err(|e| Error::new(ErrorKind::InvalidData, e))
    }

    fn expected(&self) -> Option<FakeUser> {
        self.shared.world().user.clone()
    }
}
