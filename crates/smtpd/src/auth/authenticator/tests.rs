//! The authenticator under load, with a paused clock that skips idle time.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};

use super::*;

/// One user, `app`, whose password is `s3cret`.
#[derive(Debug)]
struct OneUser(User);

impl OneUser {
    fn new() -> Self {
        let params = Params::new(8, 1, 1, None).expect("good parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(b"s3cret").expect("a salt");
        let iterations = ScramVerifier::MIN_ITERATIONS;
        Self(User {
            password: hash.to_string().parse().expect("a hash"),
            scram: ScramVerifier::from_password(&secret("s3cret"), b"salt".to_vec(), iterations),
            senders: Vec::new(),
        })
    }
}

impl Users for OneUser {
    fn find(&self, name: &str) -> Option<User> {
        (name == "app").then(|| self.0.clone())
    }
}

fn secret(password: &str) -> Secret {
    Secret::new(password).expect("a password")
}

/// An authenticator with its user.
struct World {
    authenticator: Authenticator,
    users: OneUser,
}

impl World {
    fn new() -> Self {
        Self {
            authenticator: Authenticator::new(),
            users: OneUser::new(),
        }
    }

    async fn check(&self, client: u8, user: &str, password: &str) -> Result<(), LoginFailure> {
        let user = user.parse().expect("a name");
        let attempt = LoginAttempt {
            client: ClientId::Address([192, 0, 2, client].into()),
            user: &user,
            failed_before: 0,
            limits: AuthLimits::default(),
        };
        let password = secret(password);
        self.authenticator
            .check(&attempt, password, &self.users)
            .await
    }
}

#[tokio::test(start_paused = true)]
async fn while_no_hash_can_be_computed_only_cached_logins_succeed() {
    let world = World::new();
    assert_eq!(world.check(1, "app", "s3cret").await, Ok(()));
    let hashing = &world.authenticator.hashing;
    let all = u32::try_from(hashing.available_permits()).expect("a few");
    let busy = hashing.acquire_many(all).await.expect("all of them");
    let began = clock::now();
    assert_eq!(world.check(1, "app", "s3cret").await, Ok(()));
    assert_eq!(began.elapsed(), Duration::ZERO);
    // A login takes the same time whether or not the user exists.
    for name in ["app", "nobody"] {
        let began = clock::now();
        assert_eq!(world.check(2, name, "wrong").await, Err(LoginFailure::Busy));
        assert_eq!(began.elapsed(), WAIT, "{name}");
    }
    drop(busy);
    let verdict = world.check(2, "app", "wrong").await;
    assert!(matches!(
        verdict,
        Err(LoginFailure::Wrong {
            locked_out: false,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_cached_login_clears_failures_like_any_other() {
    let world = World::new();
    for _ in 0..3 {
        let began = clock::now();
        let verdict = world.check(1, "app", "wrong").await;
        let first = LoginFailure::Wrong {
            until: began + Duration::from_millis(500),
            locked_out: false,
        };
        assert_eq!(verdict, Err(first));
        assert_eq!(world.check(1, "app", "s3cret").await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_hashes_one_password_at_a_time() {
    let world = World::new();
    let turn = world
        .authenticator
        .locks
        .take(ClientId::Address([192, 0, 2, 1].into()))
        .await;
    assert_eq!(
        world.check(1, "app", "s3cret").await,
        Err(LoginFailure::Busy)
    );
    assert_eq!(world.check(2, "app", "s3cret").await, Ok(()));
    drop(turn);
    assert_eq!(world.check(1, "app", "wrong").await.map_err(drop), Err(()));
}

#[test]
fn an_invented_verifier_is_always_the_same_for_a_name_and_differs_between_names() {
    let (authenticator, users) = (Authenticator::new(), OneUser::new());
    let challenge = |authenticator: &Authenticator, name: &str| {
        authenticator.challenge(&name.parse().expect(name), &users)
    };
    let (one, nonce) = challenge(&authenticator, "nobody");
    let (same, other_nonce) = challenge(&authenticator, "nobody");
    assert!(one == same && nonce != other_nonce);
    for (other, _) in [
        challenge(&authenticator, "somebody"),
        challenge(&Authenticator::new(), "nobody"),
    ] {
        assert!(one.salt != other.salt && one.stored_key != other.stored_key);
    }
    assert!(one.stored_key != one.server_key);
    assert_eq!(challenge(&authenticator, "app").0, users.0.scram);
}
