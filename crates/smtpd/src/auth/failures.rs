//! Counts failed logins: how long the answer takes, and which client is locked out.
//!
//! A client is shut out after a few. A user never is: anybody could do that to them by guessing.
//! But failures for a user slow the answer to the next one, whichever client it comes from.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::client::ClientId;

/// Failures of one client, in whichever sessions, that shut it out.
const ALLOWED: u32 = 6;
/// How long the answer to a first failure takes; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(4);
/// Clients and users, each, that are remembered at a time.
const REMEMBERED: usize = 16 * 1024;
/// Octets of a user's name that tell it from others: nobody's memory is to be filled.
const NAME: usize = 64;

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Penalty {
    /// How long the answer is to take.
    pub(super) delay: Duration,
    /// The client may not try again for now.
    pub(super) shut_out: bool,
}

/// A failed login.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    pub(super) client: ClientId,
    pub(super) user: &'a str,
    /// How many there have been in its session, this one included.
    pub(super) in_session: u32,
}

/// The failures of some time, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Failures {
    clients: Table<ClientId>,
    users: Table<Box<str>>,
    /// Of one client for one user: what a success of that client as that user forgives.
    slips: Table<(ClientId, Box<str>)>,
}

impl Failures {
    /// Whether this client is shut out.
    pub(super) fn is_shut_out(
        &mut self,
        client: ClientId,
        now: Instant,
        lockout: Duration,
    ) -> bool {
        self.clients.count(&client.counted_as(), now, lockout) >= ALLOWED
    }

    /// Counts a failure, the `in_session`th of its session.
    pub(super) fn count(
        &mut self,
        failure: &Failure<'_>,
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
            shut_out: of_client >= ALLOWED,
        }
    }

    /// A success: what this client had wrong before for this user were slips. Its failures for others
    /// count on, or whoever has an account could guess at others' for ever. Whoever is shut out stays
    /// so.
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

/// Counts that end some time after the last failure; the oldest go when there are too many.
#[derive(Debug)]
struct Table<K> {
    counts: HashMap<K, Count>,
    /// By the time of their last failure, former places included.
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

    /// One more, and no fewer than `least` in all.
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

    /// How many there were.
    fn remove(&mut self, key: &K) -> u32 {
        self.counts.remove(key).map_or(0, |count| count.failures)
    }

    /// So many fewer, unless they have reached the bound.
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
            // A later failure has a later place.
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

    /// A table, its clock, and who fails.
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
            let failure = Failure {
                client: ClientId::Address(client.parse().expect(client)),
                user,
                in_session: 1,
            };
            self.failures.count(&failure, self.now, LOCKOUT)
        }

        fn is_shut_out(&mut self, client: &str) -> bool {
            let client = ClientId::Address(client.parse().expect(client));
            self.failures.is_shut_out(client, self.now, LOCKOUT)
        }
    }

    #[test]
    fn the_sixth_failure_shuts_a_client_out_for_a_while_and_nobody_else() {
        let mut world = World::new();
        for n in 1..ALLOWED {
            assert!(!world.fail("192.0.2.1", "app").shut_out, "{n}");
            assert!(!world.is_shut_out("192.0.2.1"));
        }
        assert!(world.fail("::ffff:192.0.2.1", "other").shut_out);
        assert!(world.is_shut_out("192.0.2.1"));
        assert!(!world.is_shut_out("192.0.2.2"));
        world.now += LOCKOUT;
        assert!(!world.is_shut_out("192.0.2.1"));
        assert!(!world.fail("192.0.2.1", "app").shut_out);
    }

    #[test]
    fn a_whole_64_is_one_client() {
        let mut world = World::new();
        for n in 1..=ALLOWED {
            world.fail(&format!("2001:db8::{n}:1"), "app");
        }
        assert!(world.is_shut_out("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!world.is_shut_out("2001:db8:0:1::1"));
    }

    #[test]
    fn delays_double_by_client_and_by_user() {
        let mut world = World::new();
        for milliseconds in [500, 1000, 2000, 4000, 4000, 4000] {
            let penalty = world.fail("192.0.2.1", "app");
            assert_eq!(penalty.delay.as_millis(), milliseconds);
        }
        let elsewhere = world.fail("192.0.2.2", "app");
        assert_eq!(elsewhere.delay, LONGEST_DELAY);
        assert!(!elsewhere.shut_out);
        assert_eq!(world.fail("192.0.2.3", "other").delay, FIRST_DELAY);
    }

    #[test]
    fn a_success_forgives_slips_but_lets_nobody_back_in() {
        let mut world = World::new();
        for (failures, shut_out) in [(ALLOWED - 1, false), (ALLOWED, true)] {
            for _ in 0..failures {
                world.fail("192.0.2.1", "app");
            }
            let client = ClientId::Address("192.0.2.1".parse().expect("an address"));
            world.failures.forgive(client, "app");
            assert_eq!(world.is_shut_out("192.0.2.1"), shut_out);
            assert_eq!(world.fail("192.0.2.9", "app").delay, FIRST_DELAY);
            let other = ClientId::Address("192.0.2.9".parse().expect("an address"));
            world.failures.forgive(other, "app");
        }
    }

    #[test]
    fn a_success_forgives_that_client_and_that_user_alone() {
        let mut world = World::new();
        let client = ClientId::Address("192.0.2.1".parse().expect("an address"));
        for _ in 0..3 {
            world.fail("192.0.2.1", "other");
            world.fail("192.0.2.1", "app");
            world.fail("192.0.2.2", "app");
            world.failures.forgive(client, "app");
        }
        assert_eq!(world.fail("192.0.2.3", "app").delay, LONGEST_DELAY);
        for shut_out in [false, false, true] {
            assert_eq!(world.fail("192.0.2.1", "other").shut_out, shut_out);
        }
    }

    #[test]
    fn six_in_one_session_are_enough_whatever_was_forgiven() {
        let mut world = World::new();
        let failure = Failure {
            client: ClientId::Address("192.0.2.1".parse().expect("an address")),
            user: "app",
            in_session: ALLOWED,
        };
        let penalty = world.failures.count(&failure, world.now, LOCKOUT);
        assert!(penalty.shut_out && world.is_shut_out("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
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
        assert!(!world.is_shut_out("192.0.2.1"));
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
