//! The system's own name, in full, as `hostname -f` has it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use relay_smtp::address::is_domain;

/// How long the system's resolver is waited for: a relay starts without DNS, too.
const PATIENCE: Duration = Duration::from_secs(3);
/// Asks for the canonical name beside the addresses (RFC 3493 §6.1, `AI_CANONNAME`; the value is
/// Linux's).
const CANONICAL_NAME: i32 = 0x0002;

/// The name, for the greeting and EHLO of a relay that is not told another; or why there is none,
/// in words for the operator.
pub fn of_system() -> Result<String, String> {
    let name =
        nix::unistd::gethostname().map_err(|reason| format!("hostname: {reason}: set it"))?;
    let name = full_name(name.to_string_lossy().into_owned(), canonical_name);
    if is_domain(&name) {
        Ok(name)
    } else {
        Err(format!(
            "hostname: the system's own name, {name:?}, is no host name: set it"
        ))
    }
}

/// `name` itself if it is a full one, else what `look_up` knows about it. Every machine is
/// localhost, so that is nobody's name.
fn full_name(name: String, look_up: impl FnOnce(&str) -> Option<String>) -> String {
    if name.contains('.') {
        return name;
    }
    let is_full = |found: &String| {
        found.contains('.') && found.split('.').next() != Some("localhost") && is_domain(found)
    };
    look_up(&name)
        .map(|found| found.trim_end_matches('.').to_owned())
        .filter(is_full)
        .unwrap_or(name)
}

/// From /etc/hosts or DNS, as the system is set up to look.
fn canonical_name(name: &str) -> Option<String> {
    let (sender, found) = mpsc::channel();
    let name = name.to_owned();
    // The call cannot be interrupted: if it hangs, its thread is left to it.
    let asked = thread::Builder::new().spawn(move || {
        let hints = AddrInfoHints {
            flags: CANONICAL_NAME,
            ..AddrInfoHints::default()
        };
        let addresses = getaddrinfo(Some(&name), None, Some(hints)).ok();
        let first = addresses.and_then(|mut addresses| addresses.next());
        // Who asked may have lost patience.
        let _ = sender.send(first.and_then(Result::ok).and_then(|a| a.canonname));
    });
    asked.ok()?;
    found.recv_timeout(PATIENCE).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_completed_by_what_the_resolver_knows() {
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
    fn a_full_name_needs_no_looking_up() {
        let name = full_name("mail.example.org".to_owned(), |_| {
            panic!("it was looked up")
        });
        assert_eq!(name, "mail.example.org");
    }

    #[test]
    fn the_resolver_of_the_system_is_asked_for_the_canonical_name() {
        // An address is its own canonical name, without any name server.
        assert_eq!(canonical_name("127.0.0.1").as_deref(), Some("127.0.0.1"));
    }
}
