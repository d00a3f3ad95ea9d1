//! Tests how long password guessing takes for the client. The pipe counts as TLS.

use std::collections::HashMap;
use std::sync::Mutex;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use relay_smtp::sasl::scram::client::ClientFirst;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::sasl::{Secret, base64};

use super::*;
use crate::auth::{User, Users};

const WRONG: &str = "535 5.7.8 authentication failed (#5.7.8)\r\n";

/// Users in memory, which a test can change.
#[derive(Debug, Default)]
struct Accounts(Mutex<HashMap<String, User>>);

impl Accounts {
    fn set(&self, name: &str, password: &str) {
        let params = Params::new(8, 1, 1, None).expect("good parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(password.as_bytes()).expect("a salt");
        let secret = Secret::new(password).expect("a password");
        let iterations = ScramVerifier::MIN_ITERATIONS;
        let user = User {
            password: hash.to_string().parse().expect("a hash"),
            scram: ScramVerifier::from_password(&secret, b"salt".to_vec(), iterations),
            senders: Vec::new(),
        };
        self.0.lock().expect("no panic").insert(name.into(), user);
    }
}

impl Users for Accounts {
    fn find(&self, name: &str) -> Option<User> {
        self.0.lock().expect("no panic").get(name).cloned()
    }
}

/// A relay with one user, `app`, whose password is `s3cret`.
struct Relay {
    shared: Arc<SharedState<MemoryStore>>,
    config: Arc<ServerConfig>,
    accounts: Arc<Accounts>,
}

impl Relay {
    fn new() -> Self {
        let accounts = Arc::new(Accounts::default());
        accounts.set("app", "s3cret");
        let config = ServerConfig {
            users: Some(Arc::clone(&accounts) as _),
            ..config()
        };
        Self {
            shared: shared(),
            config: Arc::new(config),
            accounts,
        }
    }

    /// The same relay with this command timeout.
    fn with_command_timeout(timeout: Duration) -> Self {
        let mut relay = Self::new();
        let config = Arc::get_mut(&mut relay.config).expect("the configuration has one owner");
        config.limits.session.command_timeout = timeout;
        relay
    }

    /// A client that has sent EHLO.
    async fn session(&self, address: &str) -> World {
        let client = Client {
            id: ClientId::Address(address.parse().expect(address)),
            address_known: true,
            role: Role::Submission,
        };
        let (shared, config) = (Arc::clone(&self.shared), Arc::clone(&self.config));
        let mut client = session(shared, config, client, Channel::Tls);
        client.write().await.expect("the greeting");
        client.send(b"EHLO c.test\r\n").await;
        client.write().await.expect("a reply");
        client
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Plain,
    Login,
    Scram,
}

impl World {
    async fn ask(&mut self, lines: &str) -> String {
        self.send(format!("{lines}\r\n").as_bytes()).await;
        let replies = self.write().await.expect("a reply");
        let last = replies.trim_end().rfind('\n').map_or(0, |end| end + 1);
        replies[last..].to_owned()
    }

    /// Sends AUTH and returns the last reply.
    async fn log_in(&mut self, how: How, user: &str, password: &str) -> String {
        let encoded = |text: &str| base64::encode(text.as_bytes()).to_string();
        match how {
            How::Plain => {
                let response = encoded(&format!("\0{user}\0{password}"));
                self.ask(&format!("AUTH PLAIN {response}")).await
            }
            How::Login => {
                let (user, password) = (encoded(user), encoded(password));
                self.ask(&format!("AUTH LOGIN\r\n{user}\r\n{password}"))
                    .await
            }
            How::Scram => {
                let challenged = self.challenge(user).await;
                let (first, challenge) = match challenged {
                    Ok(challenged) => challenged,
                    Err(refusal) => return refusal,
                };
                let reply = self.ask(&proof(first, &challenge, password)).await;
                if reply.starts_with("334 ") {
                    self.ask("").await
                } else {
                    reply
                }
            }
        }
    }

    /// The first half of SCRAM: returns the challenge of the server.
    async fn challenge(&mut self, user: &str) -> Result<(ClientFirst, String), String> {
        let nonce = Nonce::from_random([7; Nonce::RANDOM]);
        let first = ClientFirst::new(&user.parse().expect(user), nonce);
        let message = base64::encode(first.message().as_bytes());
        let auth = format!("AUTH SCRAM-SHA-256 {}", *message);
        let reply = self.ask(&auth).await;
        match reply.strip_prefix("334 ") {
            Some(challenge) => Ok((first, challenge.trim_end().to_owned())),
            None => Err(reply),
        }
    }

    async fn expect(&mut self, how: How, password: &str, start: &str) {
        let reply = self.log_in(how, "app", password).await;
        assert!(reply.starts_with(start), "{how:?} {password}: {reply}");
    }
}

/// The second half of SCRAM: sends the proof.
fn proof(first: ClientFirst, challenge: &str, password: &str) -> String {
    let challenge = base64::decode(challenge.as_bytes()).expect("base64");
    let secret = Secret::new(password).expect("a password");
    let (_, message) = first.prove(&challenge, &secret).expect("a challenge");
    base64::encode(message.as_bytes()).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_an_unknown_user_and_an_empty_password_look_the_same() {
    for (how, user, password) in [
        (How::Plain, "app", "wrong"),
        (How::Plain, "nobody", "s3cret"),
        (How::Plain, "app", ""),
        (How::Login, "app", "wrong"),
        (How::Login, "nobody", "s3cret"),
        (How::Login, "app", ""),
        (How::Scram, "app", "wrong"),
        (How::Scram, "nobody", "s3cret"),
    ] {
        let relay = Relay::new();
        let mut client = relay.session("192.0.2.9").await;
        let began = clock::now();
        let reply = client.log_in(how, user, password).await;
        assert_eq!(reply, WRONG, "{how:?} {user} {password:?}");
        let taken = began.elapsed().as_millis();
        assert_eq!(taken, 500, "{how:?} {user} {password:?}");
        assert!(client.ask("NOOP").await.starts_with("250"));
    }
}

#[tokio::test(start_paused = true)]
async fn each_failure_takes_longer_and_the_sixth_ends_the_session() {
    let relay = Relay::new();
    let mut client = relay.session("192.0.2.9").await;
    for (how, milliseconds) in [
        (How::Plain, 500),
        (How::Login, 1000),
        (How::Scram, 2000),
        (How::Plain, 4000),
        (How::Scram, 4000),
    ] {
        let began = clock::now();
        client.expect(how, "wrong", WRONG).await;
        assert_eq!(began.elapsed().as_millis(), milliseconds, "{how:?}");
    }
    client.expect(How::Plain, "wrong", "421 4.7.0").await;
    assert_eq!(client.write().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_a_failure_does_not_shorten_the_command_timeout() {
    for how in [How::Plain, How::Login, How::Scram] {
        let relay = Relay::with_command_timeout(Duration::from_secs(1));
        let mut client = relay.session("192.0.2.9").await;
        client.expect(how, "wrong", WRONG).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        let reply = client.ask("NOOP").await;
        assert!(reply.starts_with("250"), "{how:?}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_account_gets_no_more_guesses_at_others() {
    let relay = Relay::new();
    relay.accounts.set("mine", "known");
    for guess in 1..=6 {
        let mut client = relay.session("192.0.2.9").await;
        let reply = client.log_in(How::Plain, "app", "wrong").await;
        let is_last = reply.starts_with("421 4.7.0");
        assert_eq!(is_last, guess == 6, "{guess}: {reply}");
        let mut client = relay.session("192.0.2.9").await;
        let reply = client.log_in(How::Plain, "mine", "known").await;
        assert_eq!(reply.starts_with("235"), guess < 6, "{guess}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_out_client_is_refused_for_a_while_and_others_are_not() {
    let relay = Relay::new();
    let mut known = relay.session("2001:db8::1").await;
    known.expect(How::Plain, "s3cret", "235").await;
    for number in 1..=6 {
        let mut client = relay.session(&format!("2001:db8::{number}")).await;
        client.log_in(How::Plain, "app", "wrong").await;
    }
    for how in [How::Plain, How::Login, How::Scram] {
        let mut again = relay.session("2001:db8::7").await;
        let began = clock::now();
        again.expect(how, "s3cret", "421 4.7.0").await;
        assert_eq!(began.elapsed(), Duration::ZERO, "the login is not checked");
        assert_eq!(again.write().await, None);
        let mut other = relay.session("2001:db8:0:1::1").await;
        other.expect(how, "s3cret", "235").await;
    }
    tokio::time::advance(Duration::from_mins(10)).await;
    let mut again = relay.session("2001:db8::1").await;
    again.expect(How::Plain, "s3cret", "235").await;
}

#[tokio::test(start_paused = true)]
async fn parallel_guesses_count_like_successive_ones() {
    let relay = Relay::new();
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(relay.session("192.0.2.9").await);
    }
    let (last, others) = clients.split_last_mut().expect("clients");
    for client in &mut *others {
        client.send(b"AUTH PLAIN AGFwcAB3cm9uZw==\r\n").await;
    }
    // The password is right, but by then the client is locked out.
    last.send(b"AUTH PLAIN AGFwcABzM2NyZXQ=\r\n").await;
    let mut wrong = 0;
    for client in others {
        let reply = client.write().await.expect("a reply");
        wrong += usize::from(reply == WRONG);
        assert!(reply == WRONG || reply.starts_with("421 4.7.0"), "{reply}");
    }
    assert_eq!(wrong, 5, "the sixth gets 421");
    let reply = last.write().await.expect("a reply");
    assert!(reply.starts_with("421 4.7.0"), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn distributed_guesses_are_delayed_and_do_not_lock_the_user_out() {
    let relay = Relay::new();
    let mut taken = Vec::new();
    for number in 1..=7 {
        let mut client = relay.session(&format!("192.0.2.{number}")).await;
        let began = clock::now();
        client.expect(How::Plain, "wrong", WRONG).await;
        taken.push(began.elapsed().as_millis());
    }
    assert_eq!(taken, [500, 1000, 2000, 4000, 4000, 4000, 4000]);
    let mut owner = relay.session("192.0.2.9").await;
    let began = clock::now();
    owner.expect(How::Plain, "s3cret", "235").await;
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_password_takes_effect_at_once() {
    for how in [How::Plain, How::Login, How::Scram] {
        let relay = Relay::new();
        for _ in 0..2 {
            relay
                .session("192.0.2.9")
                .await
                .expect(how, "s3cret", "235")
                .await;
        }
        relay.accounts.set("app", "changed");
        let mut client = relay.session("192.0.2.9").await;
        client.expect(how, "s3cret", WRONG).await;
        client.expect(how, "changed", "235").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_user_loses_access_at_once() {
    let relay = Relay::new();
    let mut client = relay.session("192.0.2.9").await;
    client.expect(How::Plain, "s3cret", "235").await;
    relay.accounts.0.lock().expect("no panic").clear();
    let reply = client.ask("MAIL FROM:<a@b.test>").await;
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
    let mut again = relay.session("192.0.2.9").await;
    again.expect(How::Plain, "s3cret", WRONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_user_removed_during_the_exchange_is_refused() {
    let relay = Relay::new();
    let mut client = relay.session("192.0.2.9").await;
    let (first, challenge) = client.challenge("app").await.expect("a challenge");
    relay.accounts.0.lock().expect("no panic").clear();
    let reply = client.ask(&proof(first, &challenge, "s3cret")).await;
    assert_eq!(reply, WRONG);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_delayed_reply() {
    let relay = Relay::new();
    let mut client = relay.session("192.0.2.9").await;
    let began = clock::now();
    client.send(b"AUTH PLAIN AGFwcAB3cm9uZw==\r\n").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    relay.shared.stopping.cancel();
    let told = client.write().await.expect("replies");
    assert!(told.starts_with(WRONG), "{told}");
    let told = client.write().await;
    assert!(told.is_some_and(|told| told.starts_with("421 4.3.2")));
    assert!(began.elapsed().as_millis() < 500);
}
