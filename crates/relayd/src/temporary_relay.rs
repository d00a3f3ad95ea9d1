//! Temporary permissions to relay for client addresses. They serve the purpose of POP-before-SMTP,
//! but they expire.
//!
//! They are kept in `state_dir/acl`, one on each line: the address, and the end of the permission
//! in seconds since 1970. The file is replaced as a whole, so that after a crash it is either the
//! old one or the new one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_atomic_file::replace;
use relay_control::TemporaryRelay;

use crate::clock::now;

/// The largest number of permissions at the same time. Such lists are known to have grown to eleven
/// thousand addresses. Here expired ones are removed, and a faulty script reaches this limit.
const MOST: usize = 10_000;
/// The largest file that such a list can need, in octets.
const LONGEST_FILE: u64 = 1 << 20;

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
    #[error("{}: {source}", file.display())]
    Io {
        /// The file of the list.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The list has a line that the relay did not write.
    #[error("{}:{line}: not an address and a time", file.display())]
    Line {
        /// The file of the list.
        file: PathBuf,
        /// The line number, counted from 1.
        line: usize,
    },
}

/// The temporary permissions, in memory and on the disk.
#[derive(Debug)]
pub(crate) struct TemporaryRelayList {
    file: PathBuf,
    /// Held while the file is written. Sessions do not wait for it.
    writing: Mutex<()>,
    until: RwLock<BTreeMap<IpAddr, u64>>,
}

impl TemporaryRelayList {
    /// Reads the list in this state directory. It is empty before the first permission.
    pub(crate) fn open(state_dir: &Path, now: SystemTime) -> Result<Self, TemporaryRelayError> {
        let file = state_dir.join("acl");
        let mut until = read(&file)?;
        until.retain(|_, end| *end > seconds(now));
        Ok(Self {
            file,
            writing: Mutex::default(),
            until: RwLock::new(until),
        })
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
        write(&self.file, &changed).map_err(|source| TemporaryRelayError::Io {
            file: self.file.clone(),
            source,
        })?;
        *self.until.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }
}

impl relay_smtpd::TemporaryRelay for TemporaryRelayList {
    fn may_relay(&self, client: IpAddr) -> bool {
        self.allows(client, now())
    }
}

fn read(file: &Path) -> Result<BTreeMap<IpAddr, u64>, TemporaryRelayError> {
    let error = |source| TemporaryRelayError::Io {
        file: file.to_owned(),
        source,
    };
    match fs::metadata(file) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(reason) => return Err(error(reason)),
        Ok(found) if found.len() > LONGEST_FILE => {
            return Err(error(io::Error::other("too large to be the list")));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(file).map_err(error)?;
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            let (address, end) = line.split_once(' ').unwrap_or_default();
            let permission = address.parse().ok().zip(end.parse().ok());
            permission.ok_or_else(|| TemporaryRelayError::Line {
                file: file.to_owned(),
                line: index + 1,
            })
        })
        .collect()
}

fn write(file: &Path, until: &BTreeMap<IpAddr, u64>) -> io::Result<()> {
    let mut lines = String::new();
    for (address, end) in until {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{address} {end}");
    }
    replace(file, lines.as_bytes(), None)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_permission_survives_a_restart_and_expires() {
        let dir = tempfile::tempdir().expect("a directory");
        let list = TemporaryRelayList::open(dir.path(), at(1000)).expect("none yet");
        assert!(!list.allows(ip("192.0.2.1"), at(1000)));
        let permission = list
            .allow(ip("::ffff:192.0.2.1"), HOUR, at(1000))
            .expect("room");
        assert_eq!(
            (permission.address, permission.until),
            (ip("192.0.2.1"), 4600)
        );
        for list in [
            list,
            TemporaryRelayList::open(dir.path(), at(2000)).expect("a list"),
        ] {
            assert!(list.allows(ip("192.0.2.1"), at(4599)));
            assert!(list.allows(ip("::ffff:192.0.2.1"), at(4599)));
            assert!(!list.allows(ip("192.0.2.1"), at(4600)));
            assert!(!list.allows(ip("192.0.2.2"), at(2000)));
            assert_eq!(list.list(at(4599)), [permission]);
            assert_eq!(list.list(at(4600)), []);
        }
        let later = TemporaryRelayList::open(dir.path(), at(5000)).expect("a list");
        later
            .allow(ip("2001:db8::1"), HOUR, at(5000))
            .expect("room");
        let text = fs::read_to_string(dir.path().join("acl")).expect("text");
        assert_eq!(
            text, "2001:db8::1 8600\n",
            "what is over is gone from the disk"
        );
    }

    #[test]
    fn a_permission_can_be_replaced_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let list = TemporaryRelayList::open(dir.path(), at(0)).expect("none yet");
        list.allow(ip("192.0.2.1"), HOUR, at(0)).expect("room");
        list.allow(ip("192.0.2.1"), HOUR / 2, at(0)).expect("room");
        assert!(!list.allows(ip("192.0.2.1"), at(1800)));
        assert!(list.remove(ip("192.0.2.1"), at(10)).expect("a disk"));
        assert!(!list.allows(ip("192.0.2.1"), at(11)));
        assert!(!list.remove(ip("192.0.2.1"), at(11)).expect("a disk"));
        let again = TemporaryRelayList::open(dir.path(), at(11)).expect("a list");
        assert_eq!(again.list(at(11)), []);
    }

    #[test]
    fn the_list_is_bounded_and_expired_permissions_make_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut lines = String::new();
        for n in 0..u32::try_from(MOST).expect("it fits") {
            let address = std::net::Ipv4Addr::from_bits(n);
            let _ = writeln!(lines, "{address} {}", 100 + u64::from(n));
        }
        fs::write(dir.path().join("acl"), lines).expect("a file");
        let list = TemporaryRelayList::open(dir.path(), at(0)).expect("a list");
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
        let dir = tempfile::tempdir().expect("a directory");
        let list = TemporaryRelayList::open(dir.path(), at(0)).expect("none yet");
        for time in [Duration::ZERO, LONGEST + HOUR, Duration::MAX] {
            let refused = list.allow(ip("192.0.2.1"), time, at(0));
            assert!(matches!(refused, Err(TemporaryRelayError::Time)));
        }
    }

    #[test]
    fn an_invalid_list_is_reported_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("acl"), "192.0.2.1 5\nanyone 9\n").expect("a file");
        let error = TemporaryRelayList::open(dir.path(), at(0)).expect_err("line 2");
        assert!(
            error
                .to_string()
                .ends_with("/acl:2: not an address and a time")
        );
    }
}
