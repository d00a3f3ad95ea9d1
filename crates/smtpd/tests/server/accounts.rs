//! Users and their logins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use relay_smtp::sasl::scram::client::ClientFirst;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::sasl::{Secret, UserName, base64, prepare};
use relay_smtpd::{User, Users};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::world::Client;

/// Users in memory, which a test can change.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<String, User>>);

impl Accounts {
    /// One user.
    pub(crate) fn with(name: &str, password: &str) -> Arc<Self> {
        let accounts = Self::default();
        accounts.set(name, password, &[]);
        Arc::new(accounts)
    }

    /// Adds or changes a user, who may be limited to certain senders.
    pub(crate) fn set(&self, name: &str, password: &str, senders: &[&str]) {
        let params = Params::new(8, 1, 1, None).expect("good parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(prepare(password).as_bytes());
        let secret = Secret::new(password).expect("a password");
        let iterations = ScramVerifier::MIN_ITERATIONS;
        let user = User {
            password: hash.expect("a salt").to_string().parse().expect("a hash"),
            scram: ScramVerifier::from_password(&secret, b"salt".to_vec(), iterations),
            senders: senders
                .iter()
                .map(|pattern| pattern.parse().expect(pattern))
                .collect(),
        };
        self.0.lock().expect("no panic").insert(name.into(), user);
    }
}

impl Users for Accounts {
    fn find(&self, name: &str) -> Option<User> {
        self.0.lock().expect("no panic").get(name).cloned()
    }
}

/// A mechanism, and whether its first response is sent with AUTH.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Plain,
    PlainAtOnce,
    Login,
    LoginAtOnce,
    Scram,
}

impl How {
    pub(crate) const ALL: [Self; 5] = [
        Self::Plain,
        Self::PlainAtOnce,
        Self::Login,
        Self::LoginAtOnce,
        Self::Scram,
    ];
}

/// Encodes a response of the client in base64.
pub(crate) fn encoded(text: &str) -> String {
    base64::encode(text.as_bytes()).to_string()
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    /// Sends AUTH and returns the last reply.
    pub(crate) async fn log_in(&mut self, how: How, user: &str, password: &str) -> String {
        let plain = encoded(&format!("\0{user}\0{password}"));
        let (user_response, password_response) = (encoded(user), encoded(password));
        match how {
            How::Plain => self.converse(&["AUTH PLAIN", &plain]).await,
            How::PlainAtOnce => self.converse(&[&format!("AUTH PLAIN {plain}")]).await,
            How::Login => {
                let lines = ["AUTH LOGIN", &user_response, &password_response];
                self.converse(&lines).await
            }
            How::LoginAtOnce => {
                let auth = format!("AUTH LOGIN {user_response}");
                self.converse(&[&auth, &password_response]).await
            }
            How::Scram => self.log_in_by_scram(user, password).await,
        }
    }

    /// Sends line after line as long as the server asks for more.
    async fn converse(&mut self, lines: &[&str]) -> String {
        let mut reply = String::new();
        for line in lines {
            reply = self.command(line).await;
            if !reply.starts_with("334") {
                break;
            }
        }
        reply
    }

    async fn log_in_by_scram(&mut self, user: &str, password: &str) -> String {
        let user: UserName = user.parse().expect("a name");
        let first = ClientFirst::new(&user, Nonce::from_random([7; Nonce::RANDOM]));
        let auth = format!("AUTH SCRAM-SHA-256 {}", encoded(&first.message()));
        let reply = self.command(&auth).await;
        let Some(challenge) = reply.strip_prefix("334 ") else {
            return reply;
        };
        let challenge = base64::decode(challenge.trim_end().as_bytes()).expect("base64");
        let password = Secret::new(password).expect("a password");
        let proven = first.prove(&challenge, &password);
        let (awaited, proof) = proven.expect("a challenge");
        let reply = self.command(&encoded(&proof)).await;
        let Some(end) = reply.strip_prefix("334 ") else {
            return reply;
        };
        let end = base64::decode(end.trim_end().as_bytes()).expect("base64");
        awaited
            .check(&end)
            .expect("the server knows the password too");
        self.command("").await
    }
}
