//! The full name of this machine, as `hostname -f` prints it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use relay_smtp::address::is_domain;

/// How long to wait for the system's resolver. The relay must start without DNS as well.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests the canonical name in addition to the addresses (`AI_CANONNAME`, RFC 3493 §6.1; the value on
/// Linux).
const CANONICAL_NAME: i32 = 0x0002;

/// Why the name of this machine cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// The name is not valid in SMTP.
    #[error("hostname: the system's name, {0:?}, is not a valid host name: set hostname")]
    Invalid(String),
}

/// Returns the default of `hostname`: the full name of this machine. If the system has only a short name, the
/// full one is looked up, which takes up to three seconds without DNS. A name that is not valid in SMTP is an
/// error.
pub fn of_system() -> Result<String, HostnameError> {
    let system = rustix::system::uname();
    let name = full_name(
        system.nodename().to_string_lossy().into_owned(),
        canonical_name,
    );
    if is_domain(&name) {
        Ok(name)
    } else {
        Err(HostnameError::Invalid(name))
    }
}

/// Returns `name` if it is a full name, otherwise the full name that `look_up` finds. Names that begin with
/// `localhost` are ignored, because every machine has them.
fn full_name(name: String, look_up: impl FnOnce(&str) -> Option<String>) -> String {
    if name.contains('.') {
        return name;
    }
    look_up(&name)
        .map(|found| found.trim_end_matches('.').to_owned())
        .filter(|found| found.contains('.') && is_domain(found))
        .filter(|found| found.split('.').next() != Some("localhost"))
        .unwrap_or(name)
}

/// Asks the system's resolver for the canonical name, which comes from /etc/hosts or DNS.
fn canonical_name(name: &str) -> Option<String> {
    let (sender, found) = mpsc::channel();
    let name = name.to_owned();
    // The call cannot be interrupted. If it hangs, its thread is abandoned.
    let asked = thread::Builder::new().spawn(move || {
        let hints = AddrInfoHints {
            flags: CANONICAL_NAME,
            ..AddrInfoHints::default()
        };
        let addresses = getaddrinfo(Some(&name), None, Some(hints)).ok();
        let first = addresses.and_then(|mut addresses| addresses.next());
        // The caller may have stopped waiting.
        let _ = sender.send(first.and_then(Result::ok).and_then(|a| a.canonname));
    });
    asked.ok()?;
    found.recv_timeout(LOOKUP_TIMEOUT).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_completed_by_the_resolver() {
        for (name, known, full) in [
            ("mail", Some("mail.example.org"), "mail.example.org"),
            ("mail", Some("mail.example.org."), "mail.example.org"),
            ("mail", Some("mail"), "mail"),
            ("mail", Some("localhost.localdomain"), "mail"),
            ("mail", Some("no.. name"), "mail"),
            ("mail", None, "mail"),
        ] {
            let found = full_name(name.to_owned(), |_| known.map(str::to_owned));
            assert_eq!(found, full, "{known:?}");
        }
    }

    #[test]
    fn a_full_name_needs_no_lookup() {
        let name = full_name("mail.example.org".to_owned(), |_| {
            panic!("it was looked up")
        });
        assert_eq!(name, "mail.example.org");
    }

    #[test]
    fn the_systems_resolver_returns_the_canonical_name() {
        // The canonical name of an address is the address. This needs no name server.
        assert_eq!(canonical_name("127.0.0.1").as_deref(), Some("127.0.0.1"));
    }
}
