//! A parsed path can be formatted and parsed again, and keeps its text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::command::{self, Command};
use relay_smtp::{ForwardPath, Mailbox, ReversePath};

fuzz_target!(|text: &str| {
    if let Ok(mailbox) = text.parse::<Mailbox>() {
        assert_eq!(mailbox.as_str(), text);
        assert_eq!(mailbox.needs_utf8(), !text.is_ascii());
        let parts = format!("{}@{}", mailbox.local_part(), mailbox.domain());
        assert_eq!(parts, text);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() <= 255 + 1 + 255);
    }
    if let Ok(path) = text.parse::<ReversePath>() {
        assert_eq!(path.as_str().parse(), Ok(path.clone()));
        let line = format!("MAIL FROM:{path}");
        let read = command::parse(line.as_bytes());
        assert!(matches!(read, Ok(Command::Mail { path: read, .. }) if read == path));
    }
    if let Ok(path) = text.parse::<ForwardPath>() {
        assert_eq!(path.as_str().parse(), Ok(path.clone()));
        let line = format!("RCPT TO:{path}");
        let read = command::parse(line.as_bytes());
        assert!(matches!(read, Ok(Command::Rcpt { path: read, .. }) if read == path));
    }
});
