//! Our client with our server, for input split in any way: each side understands the other.

use std::time::Instant;

use proptest::prelude::*;
use relay_smtp::client::{ClientSession, Credentials, Plan, Proof, TlsUse, Trouble};
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::sasl::{Mechanism, Secret, UserName};
use relay_smtp::server::{BareAddress, Channel, ServerSession, SessionLimits, Settings, replies};
use relay_smtp::{client, server};

/// Two connected sessions, and the password that the server knows.
struct World {
    client: ClientSession,
    server: ServerSession,
    now: Instant,
    known: Secret,
    /// The only mechanism that the server offers, if not all.
    only: Option<Mechanism>,
    sizes: Vec<usize>,
    turns: usize,
}

/// The result for the client.
type End = Result<(), Trouble>;

impl World {
    #[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
    fn new(plan: Plan, known: Secret, only: Option<Mechanism>, sizes: Vec<usize>) -> Self {
        let settings = Settings {
            hostname: "server.test".into(),
            limits: SessionLimits::default(),
            starttls: true,
            auth: true,
            bare_address: BareAddress::Refuse,
        };
        let now = Instant::now();
        let channel = match plan.tls {
            TlsUse::Active => Channel::Tls,
            TlsUse::Never | TlsUse::IfOffered | TlsUse::Required => Channel::Clear,
        };
        Self {
            client: ClientSession::new("client.test", plan),
            server: ServerSession::new(settings, channel, now),
            now,
            known,
            only,
            sizes,
            turns: 0,
        }
    }

    /// Runs until the client is ready or ends the session.
    fn run(&mut self) -> End {
        loop {
            let said = self.server.take_output();
            let said = match self.only {
                Some(only) => offer(only, &said),
                None => said,
            };
            if let Some(end) = self.tell_client(&said) {
                return end;
            }
            let said = std::mem::take(self.client.output());
            assert!(!said.is_empty(), "one side has output");
            self.tell_server(&said);
        }
    }

    fn tell_client(&mut self, mut octets: &[u8]) -> Option<End> {
        while !octets.is_empty() {
            let mut piece = self.piece(&mut octets);
            while let Some(event) = self.client.receive(&mut piece) {
                match event {
                    client::Event::Ready => return Some(Ok(())),
                    client::Event::Broken(trouble) => return Some(Err(trouble)),
                    client::Event::StartTls => {
                        assert!(octets.is_empty(), "nothing follows the 220 in clear");
                        self.server.tls_started(self.now);
                        self.client.tls_started();
                    }
                    other => panic!("{other:?} before the first transaction"),
                }
            }
        }
        None
    }

    fn tell_server(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let mut piece = self.piece(&mut octets);
            loop {
                let step = self.server.handle(piece, &mut Vec::new(), self.now);
                piece = &piece[step.consumed..];
                match step.event {
                    None => break,
                    Some(event) => self.answer(event),
                }
            }
        }
    }

    fn answer(&mut self, event: server::ServerEvent) {
        match event {
            server::ServerEvent::Authenticate(login) if login.secret == self.known => {
                self.server.accept_user(login.user);
            }
            server::ServerEvent::ScramUser(_) => {
                let count = ScramVerifier::MIN_ITERATIONS;
                let verifier = ScramVerifier::from_password(&self.known, vec![1; 16], count);
                let nonce = Nonce::from_random([7; Nonce::RANDOM]);
                self.server.continue_scram(verifier, &nonce);
            }
            server::ServerEvent::ScramDone {
                user,
                verified: true,
            } => self.server.accept_user(user),
            server::ServerEvent::Authenticate(_) | server::ServerEvent::ScramDone { .. } => {
                self.server.refuse(&replies::authentication_failed());
            }
            server::ServerEvent::StartTls => {}
            other => panic!("{other:?} before the first transaction"),
        }
    }

    fn piece<'a>(&mut self, octets: &mut &'a [u8]) -> &'a [u8] {
        let size = self.sizes[self.turns % self.sizes.len()];
        self.turns += 1;
        let (piece, rest) = octets.split_at(size.clamp(1, octets.len()));
        *octets = rest;
        piece
    }
}

/// Returns the server's output, with one mechanism instead of all.
fn offer(only: Mechanism, said: &[u8]) -> Vec<u8> {
    let all = Mechanism::SERVED.map(Mechanism::name).join(" ");
    let said = String::from_utf8(said.to_vec()).expect("ASCII");
    said.replace(&all, only.name()).into_bytes()
}

fn plan(tls: TlsUse, user: &UserName, secret: &Secret) -> Plan {
    let credentials = Credentials {
        user: user.clone(),
        proof: Proof::Password(secret.clone()),
        in_clear: false,
        nonce: Nonce::from_random([3; Nonce::RANDOM]),
    };
    Plan {
        tls,
        credentials: Some(credentials),
    }
}

fn user() -> impl Strategy<Value = UserName> {
    "[ -~é漢]{1,60}".prop_map(|name| name.parse().expect("a name"))
}

fn secret() -> impl Strategy<Value = Secret> {
    let text = prop_oneof![4 => "\\PC{0,30}", 1 => "[a-z]{350,4000}"];
    text.prop_map(|text| Secret::new(text).expect("plain text"))
}

fn mechanism() -> impl Strategy<Value = Option<Mechanism>> {
    prop::option::of(prop::sample::select(Mechanism::SERVED.to_vec()))
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![usize::MAX]),
        Just(vec![1]),
        prop::collection::vec(1..60usize, 1..10),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn only_a_client_with_the_password_logs_in(
        user in user(),
        (secret, other) in (secret(), secret()),
        knows in any::<bool>(),
        tls in prop::sample::select(vec![TlsUse::IfOffered, TlsUse::Required, TlsUse::Active]),
        only in mechanism(),
        sizes in sizes(),
    ) {
        let is_same = relay_smtp::sasl::prepare(secret.expose())
            == relay_smtp::sasl::prepare(other.expose());
        prop_assume!(knows || !is_same);
        let known = if knows { secret.clone() } else { other };
        let mut world = World::new(plan(tls, &user, &secret), known, only, sizes);
        let end = world.run();
        prop_assert_eq!(world.server.channel(), Channel::Tls);
        if knows {
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(world.server.user(), Some(&user));
            prop_assert!(world.client.is_idle());
        } else {
            prop_assert_eq!(end, Err(Trouble::AuthRefused(replies::authentication_failed())));
            prop_assert_eq!(world.server.user(), None);
        }
    }
}

#[test]
fn a_password_is_not_sent_in_clear_without_permission() {
    let user: UserName = "tim".parse().expect("a name");
    let secret = Secret::new("tanstaaf").expect("plain text");
    let plan = plan(TlsUse::Never, &user, &secret);
    let mut world = World::new(plan, secret, None, vec![usize::MAX]);
    assert_eq!(world.run(), Err(Trouble::AuthInClear));
    assert!(world.client.output().is_empty());
}
