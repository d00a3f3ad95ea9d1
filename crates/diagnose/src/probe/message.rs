//! The test message.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_smtp::date::Date;
use relay_smtp::{ForwardPath, ReversePath};

/// Returns a complete message with one line of text.
pub(super) fn text(
    from: &ReversePath,
    to: &ForwardPath,
    hostname: &str,
    now: SystemTime,
) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let author = match from {
        ReversePath::Null => format!("postmaster@{hostname}"),
        ReversePath::Mailbox(mailbox) => mailbox.as_str().to_owned(),
    };
    let recipient = match to {
        ForwardPath::Postmaster => format!("postmaster@{hostname}"),
        ForwardPath::Mailbox(mailbox) => mailbox.as_str().to_owned(),
    };
    format!(
        "From: <{author}>\r\n\
         To: <{recipient}>\r\n\
         Subject: Test message\r\n\
         Date: {}\r\n\
         Message-ID: <{}.probe@{hostname}>\r\n\
         Auto-Submitted: auto-generated\r\n\
         \r\n\
         This is a test of the mail server at {hostname}.\r\n",
        Date(now),
        since.as_nanos(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_the_null_sender_is_from_postmaster() {
        let to = "u@dest.test".parse().expect("an address");
        let text = text(&ReversePath::Null, &to, "relay.test", UNIX_EPOCH);
        assert!(text.starts_with("From: <postmaster@relay.test>\r\nTo: <u@dest.test>\r\n"));
        assert!(text.contains("Message-ID: <0.probe@relay.test>\r\n"));
    }
}
