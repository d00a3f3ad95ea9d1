//! What a mail client may leave out of its message and a submission server adds (RFC 6409 §8).

use std::fmt::Write as _;
use std::time::SystemTime;

use relay_queue::QueueId;
use relay_smtp::date::Date;

use crate::section::fields;

/// Fields that a message ought to have (RFC 5322 §3.6) and has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) date: bool,
    pub(crate) message_id: bool,
}

impl Missing {
    /// Looks through a header section; what follows it is passed over.
    pub(crate) fn in_header(message: &[u8]) -> Self {
        let mut missing = Self {
            date: true,
            message_id: true,
        };
        for field in fields(message) {
            missing.date &= !field.is("Date");
            missing.message_id &= !field.is("Message-ID");
        }
        missing
    }

    /// Appends what is missing. The queue id makes the Message-ID unique at our name.
    pub(crate) fn add_to(self, head: &mut String, id: QueueId, hostname: &str, now: SystemTime) {
        let done = "writing to a String cannot fail";
        if self.date {
            write!(head, "Date: {}\r\n", Date(now)).expect(done);
        }
        if self.message_id {
            write!(head, "Message-ID: <{id}@{hostname}>\r\n").expect(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn only_fields_of_the_header_count() {
        for (text, date, message_id) in [
            ("Subject: t\r\n\r\nhello\r\n", true, true),
            ("Date: d\r\nMessage-ID: <i>\r\n\r\n", false, false),
            ("MESSAGE-id : <i>\r\ndate\t: d\r\n", false, false),
            (
                "Subject: t\r\n Date: d\r\n\tMessage-ID: <i>\r\n\r\n",
                true,
                true,
            ),
            (
                "Subject: t\r\n\r\nDate: d\r\nMessage-ID: <i>\r\n",
                true,
                true,
            ),
            ("X-Date: d\r\nDated: d\r\nMessage-IDs: <i>\r\n", true, true),
            ("no field\r\nDate: d\r\n", true, true),
            (": d\r\nDate: d\r\n", true, true),
            ("Resent-Date: d\r\nDate: d\r\n", false, true),
            ("", true, true),
        ] {
            let missing = Missing { date, message_id };
            assert_eq!(Missing::in_header(text.as_bytes()), missing, "{text:?}");
        }
    }

    #[test]
    fn what_is_missing_is_added() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (date, message_id, added) in [
            (false, false, ""),
            (true, false, "Date: Sun, 06 Nov 1994 08:49:37 +0000\r\n"),
            (false, true, "Message-ID: <0000000000001@relay.test>\r\n"),
        ] {
            let mut head = String::new();
            let missing = Missing { date, message_id };
            missing.add_to(&mut head, QueueId::from_bits(1), "relay.test", now);
            assert_eq!(head, added);
        }
    }
}
