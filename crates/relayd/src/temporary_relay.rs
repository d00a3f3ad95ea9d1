//! Temporary permissions to relay for client addresses. They serve the purpose of POP-before-SMTP,
//! but they expire.
//!
//! They are kept in the queue, one on each line: the address, and the end of the permission in
//! seconds since 1970.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_control::TemporaryRelay;

use crate::clock::now;
use crate::queue_note::{Keep, NoteError};

/// The largest number of permissions at the same time. Such lists are known to have grown to eleven
/// thousand addresses. Here expired ones are removed, and a faulty script reaches this limit.
const MOST: usize = 10_000;

/// The longest permission. Permanent permissions belong in the configuration.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Why a permission was not granted or removed, or why the list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TemporaryRelayError {
    /// There are too many permissions.
    #[error(
        "{MOST} addresses may relay already; remove some, or name their network in relay.networks"
    )]
    Full,
    /// The time is zero or too long.
    #[error(
        "a permission lasts a second at least and a year at most; for a permanent one, name the address in relay.networks"
    )]
    Time,
    /// The list cannot be read or written.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The list has a line that the relay did not write.
    #[error("{name}:{line}: not an address and a time")]
    Line {
        /// The name of the list.
        name: String,
        /// The line number, counted from 1.
        line: usize,
    },
}

/// The temporary permissions, in memory and in the queue.
#[derive(Debug)]
pub(crate) struct TemporaryRelayList {
    kept: Box<dyn Keep>,
    /// Held while the list is written. Sessions do not wait for it.
    writing: Mutex<()>,
    until: RwLock<BTreeMap<IpAddr, u64>>,
}

impl TemporaryRelayList {
    /// Reads the list. It is empty before the first permission.
    pub(crate) fn open(kept: Box<dyn Keep>, now: SystemTime) -> Result<Self, TemporaryRelayError> {
        let mut until = read(&*kept)?;
        until.retain(|_, end| *end > seconds(now));
        Ok(Self {
            kept,
            writing: Mutex::default(),
            until: RwLock::new(until),
        })
    }

    /// Writes the list again, so that the file of an earlier version is taken over.
    pub(crate) fn take_over(&self, now: SystemTime) -> Result<(), TemporaryRelayError> {
        self.change(now, |_| Ok(()))
    }

    /// Returns whether this client may relay now.
    pub(crate) fn allows(&self, client: IpAddr, now: SystemTime) -> bool {
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        let end = until.get(&client.to_canonical());
        end.is_some_and(|end| *end > seconds(now))
    }

    /// Lets an address relay for this long from now on. This replaces an earlier permission. Once
    /// this returns, the permission survives power loss.
    pub(crate) fn allow(
        &self,
        client: IpAddr,
        time: Duration,
        now: SystemTime,
    ) -> Result<TemporaryRelay, TemporaryRelayError> {
        if time < Duration::from_secs(1) || time > LONGEST {
            return Err(TemporaryRelayError::Time);
        }
        let end = seconds(now) + time.as_secs();
        let address = client.to_canonical();
        self.change(now, |until| {
            if until.len() >= MOST && !until.contains_key(&address) {
                return Err(TemporaryRelayError::Full);
            }
            until.insert(address, end);
            Ok(())
        })?;
        Ok(TemporaryRelay {
            address,
            until: end,
        })
    }

    /// Removes a permission. Returns `false` if there was none.
    pub(crate) fn remove(
        &self,
        client: IpAddr,
        now: SystemTime,
    ) -> Result<bool, TemporaryRelayError> {
        let mut had = false;
        self.change(now, |until| {
            had = until.remove(&client.to_canonical()).is_some();
            Ok(())
        })?;
        Ok(had)
    }

    /// Returns all current permissions by address.
    pub(crate) fn list(&self, now: SystemTime) -> Vec<TemporaryRelay> {
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        until
            .iter()
            .filter(|(_, until)| **until > seconds(now))
            .map(|(&address, &until)| TemporaryRelay { address, until })
            .collect()
    }

    /// Changes the list and writes it. Every change also removes expired permissions.
    fn change(
        &self,
        now: SystemTime,
        change: impl FnOnce(&mut BTreeMap<IpAddr, u64>) -> Result<(), TemporaryRelayError>,
    ) -> Result<(), TemporaryRelayError> {
        let _writing: MutexGuard<'_, ()> =
            self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self
            .until
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        changed.retain(|_, end| *end > seconds(now));
        change(&mut changed)?;
        self.kept.write(text(&changed))?;
        *self.until.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }
}

impl relay_smtpd::TemporaryRelay for TemporaryRelayList {
    fn may_relay(&self, client: IpAddr) -> bool {
        self.allows(client, now())
    }
}

fn read(kept: &dyn Keep) -> Result<BTreeMap<IpAddr, u64>, TemporaryRelayError> {
    let stored = kept.read()?.unwrap_or_default();
    let text = String::from_utf8_lossy(&stored);
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            let (address, end) = line.split_once(' ').unwrap_or_default();
            let permission = address.parse().ok().zip(end.parse().ok());
            permission.ok_or_else(|| TemporaryRelayError::Line {
                name: kept.name(),
                line: index + 1,
            })
        })
        .collect()
}

fn text(until: &BTreeMap<IpAddr, u64>) -> Vec<u8> {
    let mut lines = String::new();
    for (address, end) in until {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{address} {end}");
    }
    lines.into_bytes()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue_note::tests::InMemory;

    fn open(kept: &InMemory, now: SystemTime) -> Result<TemporaryRelayList, TemporaryRelayError> {
        TemporaryRelayList::open(Box::new(kept.clone()), now)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_permission_survives_a_restart_and_expires() {
        let kept = InMemory::default();
        let list = open(&kept, at(1000)).expect("none yet");
        assert!(!list.allows(ip("192.0.2.1"), at(1000)));
        let permission = list
            .allow(ip("::ffff:192.0.2.1"), HOUR, at(1000))
            .expect("room");
        assert_eq!(
            (permission.address, permission.until),
            (ip("192.0.2.1"), 4600)
        );
        for list in [list, open(&kept, at(2000)).expect("a list")] {
            assert!(list.allows(ip("192.0.2.1"), at(4599)));
            assert!(list.allows(ip("::ffff:192.0.2.1"), at(4599)));
            assert!(!list.allows(ip("192.0.2.1"), at(4600)));
            assert!(!list.allows(ip("192.0.2.2"), at(2000)));
            assert_eq!(list.list(at(4599)), [permission]);
            assert_eq!(list.list(at(4600)), []);
        }
        let later = open(&kept, at(5000)).expect("a list");
        later
            .allow(ip("2001:db8::1"), HOUR, at(5000))
            .expect("room");
        assert_eq!(
            kept.text().as_deref(),
            Some(&b"2001:db8::1 8600\n"[..]),
            "what is over is gone from the disk"
        );
    }

    #[test]
    fn a_permission_can_be_replaced_and_removed() {
        let kept = InMemory::default();
        let list = open(&kept, at(0)).expect("none yet");
        list.allow(ip("192.0.2.1"), HOUR, at(0)).expect("room");
        list.allow(ip("192.0.2.1"), HOUR / 2, at(0)).expect("room");
        assert!(!list.allows(ip("192.0.2.1"), at(1800)));
        assert!(list.remove(ip("192.0.2.1"), at(10)).expect("a disk"));
        assert!(!list.allows(ip("192.0.2.1"), at(11)));
        assert!(!list.remove(ip("192.0.2.1"), at(11)).expect("a disk"));
        let again = open(&kept, at(11)).expect("a list");
        assert_eq!(again.list(at(11)), []);
    }

    #[test]
    fn the_list_is_bounded_and_expired_permissions_make_room() {
        let mut lines = String::new();
        for n in 0..u32::try_from(MOST).expect("it fits") {
            let address = std::net::Ipv4Addr::from_bits(n);
            let _ = writeln!(lines, "{address} {}", 100 + u64::from(n));
        }
        let kept = InMemory::of(lines);
        let list = open(&kept, at(0)).expect("a list");
        let other = ip("192.0.2.1");
        assert!(matches!(
            list.allow(other, HOUR, at(0)),
            Err(TemporaryRelayError::Full)
        ));
        list.allow(ip("0.0.0.5"), HOUR, at(0))
            .expect("it has its place");
        list.allow(other, HOUR, at(100)).expect("one is over");
    }

    #[test]
    fn a_time_of_zero_and_one_above_a_year_are_refused() {
        let kept = InMemory::default();
        let list = open(&kept, at(0)).expect("none yet");
        for time in [Duration::ZERO, LONGEST + HOUR, Duration::MAX] {
            let refused = list.allow(ip("192.0.2.1"), time, at(0));
            assert!(matches!(refused, Err(TemporaryRelayError::Time)));
        }
    }

    #[test]
    fn an_invalid_list_is_reported_with_its_line() {
        let kept = InMemory::of("192.0.2.1 5\nanyone 9\n");
        let error = open(&kept, at(0)).expect_err("line 2");
        assert!(
            error
                .to_string()
                .ends_with("the test:2: not an address and a time")
        );
    }
}
