//! Caches successful logins for some minutes, so that a client that logs in for every message does not
//! cost a hash each time.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

use super::password::PasswordHash;

/// How long a success is cached.
const PERIOD: Duration = Duration::from_mins(5);
/// The most cached successes.
const REMEMBERED: usize = 16 * 1024;

/// A keyed hash of a login. It is useless without the key, which never leaves the process.
type Tag = [u8; 32];

/// Cached successes, in bounded memory.
#[derive(Debug)]
pub(super) struct VerifiedCache {
    key: hmac::Key,
    tags: HashSet<Tag>,
    order: VecDeque<(Tag, Instant)>,
}

/// The values that must match a cached success: the user, the password, and the stored hash, which
/// changes with the password.
#[derive(Debug, Clone, Copy)]
pub(super) struct VerifiedLogin<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) hash: &'a PasswordHash,
}

impl VerifiedCache {
    /// An empty cache with a new key.
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random octets");
        Self {
            key,
            tags: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether this login succeeded recently.
    pub(super) fn knows(&mut self, login: &VerifiedLogin<'_>, now: Instant) -> bool {
        self.forget(now);
        self.tags.contains(&self.tag(login))
    }

    /// Records a successful login.
    pub(super) fn remember(&mut self, login: &VerifiedLogin<'_>, now: Instant) {
        self.forget(now);
        let tag = self.tag(login);
        if self.tags.insert(tag) {
            self.order.push_back((tag, now));
        }
    }

    /// Each part is hashed with its length, so that two different logins never give the same input.
    fn tag(&self, login: &VerifiedLogin<'_>) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [login.user, login.password, login.hash.as_str()] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn forget(&mut self, now: Instant) {
        while let Some((tag, since)) = self.order.front() {
            let is_over = now.saturating_duration_since(*since) >= PERIOD;
            if !is_over && self.order.len() < REMEMBERED {
                return;
            }
            self.tags.remove(tag);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(salt: &str) -> PasswordHash {
        format!("$argon2id$v=19$m=8,t=1,p=1${salt}$EqEEBcdZfMNyJe4Oy9WZx4NYjqSCJwOjrSi6WUHgvDA")
            .parse()
            .expect("a hash")
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_success_is_cached_only_for_the_same_login_and_for_some_minutes() {
        let (mut cache, now) = (VerifiedCache::new(), now());
        let (old, new) = (hash("c2FsdHNhbHQ"), hash("cGVwcGVycGU"));
        let login = |user, password, hash| VerifiedLogin {
            user,
            password,
            hash,
        };
        let good = login("app", "s3cret", &old);
        assert!(!cache.knows(&good, now));
        cache.remember(&good, now);
        assert!(cache.knows(&good, now));
        for other in [
            login("app", "s3cre", &old),
            login("ap", "ps3cret", &old),
            login("app", "", &old),
            login("app", "s3cret", &new),
        ] {
            assert!(!cache.knows(&other, now), "{other:?}");
        }
        let almost = PERIOD.saturating_sub(Duration::from_millis(1));
        assert!(cache.knows(&good, now + almost));
        assert!(!cache.knows(&good, now + PERIOD));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut cache, now, hash) = (VerifiedCache::new(), now(), hash("c2FsdHNhbHQ"));
        for n in 0..REMEMBERED + 10 {
            let login = VerifiedLogin {
                user: &n.to_string(),
                password: "s3cret",
                hash: &hash,
            };
            cache.remember(&login, now);
            cache.remember(&login, now);
        }
        assert!(cache.order.len() <= REMEMBERED && cache.tags.len() == cache.order.len());
    }
}
