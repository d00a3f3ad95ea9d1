//! Counts failed logins. The count decides how long the reply is delayed and which client is locked
//! out.
//!
//! A client is locked out after a few failures. A user is never locked out, because anyone could
//! cause that by guessing. But failures for a user delay the reply to the next failure for that
//! user, from any client.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::client::ClientId;

/// The number of failures of one client, over all of its sessions, that locks it out.
const ALLOWED: u32 = 6;
/// The delay of the reply to a first failure. It doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(4);
/// The most clients, and the most users, that are remembered at a time.
const REMEMBERED: usize = 16 * 1024;
/// How many octets of a user name are compared. The limit keeps long names from filling the memory.
const NAME: usize = 64;

/// The consequences of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Penalty {
    /// The delay of the reply.
    pub(super) delay: Duration,
    /// Whether the client is now locked out.
    pub(super) locked_out: bool,
}

/// A failed login.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedLogin<'a> {
    pub(super) client: ClientId,
    pub(super) user: &'a str,
    /// The number of failures in its session, including this one.
    pub(super) in_session: u32,
}

/// Recent failures, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Failures {
    clients: Table<ClientId>,
    users: Table<Box<str>>,
    /// Failures of one client for one user. A success of that client for that user clears them.
    slips: Table<(ClientId, Box<str>)>,
}

impl Failures {
    /// Whether this client is locked out.
    pub(super) fn is_locked_out(
        &mut self,
        client: ClientId,
        now: Instant,
        lockout: Duration,
    ) -> bool {
        self.clients.count(&client.counted_as(), now, lockout) >= ALLOWED
    }

    /// Counts a failure. It is failure number `in_session` of its session.
    pub(super) fn count(
        &mut self,
        failure: &FailedLogin<'_>,
        now: Instant,
        lockout: Duration,
    ) -> Penalty {
        let client = failure.client.counted_as();
        let of_client = self.clients.add(client, failure.in_session, now, lockout);
        let user: Box<str> = short(failure.user).into();
        self.slips.add((client, user.clone()), 1, now, lockout);
        let of_user = self.users.add(user, 1, now, lockout);
        Penalty {
            delay: delay(of_client.max(of_user)),
            locked_out: of_client >= ALLOWED,
        }
    }

    /// Records a success. The failures of this client for this user no longer count, because they
    /// were typing errors. Its failures for other users still count; otherwise a client with an
    /// account could guess the passwords of others without limit. A client that is locked out stays
    /// locked out.
    pub(super) fn forgive(&mut self, client: ClientId, user: &str) {
        let (client, user) = (client.counted_as(), short(user));
        let slips = self.slips.remove(&(client, user.into()));
        self.clients.take_off(&client, slips, ALLOWED);
        self.users.take_off(user, slips, u32::MAX);
    }
}

fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    LONGEST_DELAY.min(FIRST_DELAY * 2_u32.pow(doublings))
}

fn short(user: &str) -> &str {
    &user[..user.floor_char_boundary(NAME)]
}

/// Counters that expire some time after the last failure. If there are too many, the oldest are
/// dropped.
#[derive(Debug)]
struct Table<K> {
    counts: HashMap<K, Count>,
    /// The keys in the order of their last failure. It also contains entries that are no longer
    /// valid.
    order: VecDeque<(K, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn count<Q>(&mut self, key: &Q, now: Instant, period: Duration) -> u32
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.forget(now, period);
        self.counts.get(key).map_or(0, |count| count.failures)
    }

    /// Counts one more failure. The total becomes at least `least`.
    fn add(&mut self, key: K, least: u32, now: Instant, period: Duration) -> u32 {
        self.forget(now, period);
        self.order.push_back((key.clone(), now));
        let count = self.counts.entry(key).or_insert(Count {
            failures: 0,
            last: now,
        });
        count.failures = count.failures.saturating_add(1).max(least);
        count.last = now;
        count.failures
    }

    /// Returns the number of failures.
    fn remove(&mut self, key: &K) -> u32 {
        self.counts.remove(key).map_or(0, |count| count.failures)
    }

    /// Subtracts failures, unless the limit has been reached.
    fn take_off<Q>(&mut self, key: &Q, failures: u32, bound: u32)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(count) = self.counts.get_mut(key).filter(|c| c.failures < bound) else {
            return;
        };
        count.failures = count.failures.saturating_sub(failures);
        if count.failures == 0 {
            self.counts.remove(key);
        }
    }

    fn forget(&mut self, now: Instant, period: Duration) {
        while let Some((key, at)) = self.order.front() {
            let is_over = now.saturating_duration_since(*at) >= period;
            if !is_over && self.order.len() < REMEMBERED {
                return;
            }
            // The entry is outdated if the key has failed again since.
            if self.counts.get(key).is_some_and(|count| count.last == *at) {
                self.counts.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKOUT: Duration = Duration::from_mins(10);

    /// A table with its clock and a client that fails.
    struct World {
        failures: Failures,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        fn new() -> Self {
            Self {
                failures: Failures::default(),
                now: Instant::now(),
            }
        }

        fn fail(&mut self, client: &str, user: &str) -> Penalty {
            let failure = FailedLogin {
                client: ClientId::Address(client.parse().expect(client)),
                user,
                in_session: 1,
            };
            self.failures.count(&failure, self.now, LOCKOUT)
        }

        fn is_locked_out(&mut self, client: &str) -> bool {
            let client = ClientId::Address(client.parse().expect(client));
            self.failures.is_locked_out(client, self.now, LOCKOUT)
        }
    }

    #[test]
    fn the_sixth_failure_locks_out_only_that_client_for_a_while() {
        let mut world = World::new();
        for n in 1..ALLOWED {
            assert!(!world.fail("192.0.2.1", "app").locked_out, "{n}");
            assert!(!world.is_locked_out("192.0.2.1"));
        }
        assert!(world.fail("::ffff:192.0.2.1", "other").locked_out);
        assert!(world.is_locked_out("192.0.2.1"));
        assert!(!world.is_locked_out("192.0.2.2"));
        world.now += LOCKOUT;
        assert!(!world.is_locked_out("192.0.2.1"));
        assert!(!world.fail("192.0.2.1", "app").locked_out);
    }

    #[test]
    fn all_addresses_of_a_64_count_as_one_client() {
        let mut world = World::new();
        for n in 1..=ALLOWED {
            world.fail(&format!("2001:db8::{n}:1"), "app");
        }
        assert!(world.is_locked_out("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!world.is_locked_out("2001:db8:0:1::1"));
    }

    #[test]
    fn delays_double_per_client_and_per_user() {
        let mut world = World::new();
        for milliseconds in [500, 1000, 2000, 4000, 4000, 4000] {
            let penalty = world.fail("192.0.2.1", "app");
            assert_eq!(penalty.delay.as_millis(), milliseconds);
        }
        let elsewhere = world.fail("192.0.2.2", "app");
        assert_eq!(elsewhere.delay, LONGEST_DELAY);
        assert!(!elsewhere.locked_out);
        assert_eq!(world.fail("192.0.2.3", "other").delay, FIRST_DELAY);
    }

    #[test]
    fn a_success_clears_failures_but_does_not_end_a_lockout() {
        let mut world = World::new();
        for (failures, locked_out) in [(ALLOWED - 1, false), (ALLOWED, true)] {
            for _ in 0..failures {
                world.fail("192.0.2.1", "app");
            }
            let client = ClientId::Address("192.0.2.1".parse().expect("an address"));
            world.failures.forgive(client, "app");
            assert_eq!(world.is_locked_out("192.0.2.1"), locked_out);
            assert_eq!(world.fail("192.0.2.9", "app").delay, FIRST_DELAY);
            let other = ClientId::Address("192.0.2.9".parse().expect("an address"));
            world.failures.forgive(other, "app");
        }
    }

    #[test]
    fn a_success_clears_only_failures_of_that_client_for_that_user() {
        let mut world = World::new();
        let client = ClientId::Address("192.0.2.1".parse().expect("an address"));
        for _ in 0..3 {
            world.fail("192.0.2.1", "other");
            world.fail("192.0.2.1", "app");
            world.fail("192.0.2.2", "app");
            world.failures.forgive(client, "app");
        }
        assert_eq!(world.fail("192.0.2.3", "app").delay, LONGEST_DELAY);
        for locked_out in [false, false, true] {
            assert_eq!(world.fail("192.0.2.1", "other").locked_out, locked_out);
        }
    }

    #[test]
    fn six_failures_in_one_session_lock_out_even_after_successes() {
        let mut world = World::new();
        let failure = FailedLogin {
            client: ClientId::Address("192.0.2.1".parse().expect("an address")),
            user: "app",
            in_session: ALLOWED,
        };
        let penalty = world.failures.count(&failure, world.now, LOCKOUT);
        assert!(penalty.locked_out && world.is_locked_out("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_failures_are_dropped_first() {
        let mut world = World::new();
        for _ in 0..ALLOWED {
            world.fail("192.0.2.1", &"x".repeat(10_000));
        }
        for n in 0..REMEMBERED {
            let [.., a, b] = n.to_be_bytes();
            world.now += Duration::from_millis(1);
            world.fail(&format!("198.51.{a}.{b}"), &format!("user{n}"));
        }
        for table in [
            world.failures.clients.order.len(),
            world.failures.users.order.len(),
            world.failures.slips.order.len(),
        ] {
            assert!(table <= REMEMBERED);
        }
        assert!(world.failures.users.counts.len() <= REMEMBERED);
        assert!(!world.is_locked_out("192.0.2.1"));
        let longest = world
            .failures
            .users
            .counts
            .keys()
            .map(|name| name.len())
            .max();
        assert!(longest <= Some(NAME));
    }
}
