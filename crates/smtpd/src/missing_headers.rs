//! Header fields that a submission server adds if the mail client left them out (RFC 6409 §8).

use std::fmt::Write as _;
use std::time::SystemTime;

use relay_message::QueueId;
use relay_smtp::ReversePath;
use relay_smtp::date::Date;
use relay_smtp::header::fields;

/// Which of the required fields (RFC 5322 §3.6) a message lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MissingHeaders {
    pub(crate) from: bool,
    pub(crate) date: bool,
    pub(crate) message_id: bool,
}

impl MissingHeaders {
    /// Examines a header section; the rest of the message is ignored.
    pub(crate) fn in_header(message: &[u8]) -> Self {
        let mut missing = Self {
            from: true,
            date: true,
            message_id: true,
        };
        for field in fields(message) {
            missing.from &= !field.is("From");
            missing.date &= !field.is("Date");
            missing.message_id &= !field.is("Message-ID");
        }
        missing
    }

    /// Formats the missing fields. The queue id makes the Message-ID unique for our host name.
    pub(crate) fn filled(self, addition: &Addition<'_>) -> String {
        let Addition {
            id,
            hostname,
            now,
            sender,
        } = addition;
        let mut fields = String::new();
        let done = "writing to a String cannot fail";
        if self.from {
            match sender {
                ReversePath::Mailbox(sender) => write!(fields, "From: {sender}\r\n"),
                // A message with the null sender was not written by a person.
                ReversePath::Null => write!(fields, "From: MAILER-DAEMON@{hostname}\r\n"),
            }
            .expect(done);
        }
        if self.date {
            write!(fields, "Date: {}\r\n", Date(*now)).expect(done);
        }
        if self.message_id {
            write!(fields, "Message-ID: <{id}@{hostname}>\r\n").expect(done);
        }
        fields
    }
}

/// The values for the added fields.
#[derive(Debug)]
pub(crate) struct Addition<'a> {
    pub(crate) id: QueueId,
    /// Our host name.
    pub(crate) hostname: &'a str,
    pub(crate) now: SystemTime,
    /// The sender of the envelope.
    pub(crate) sender: &'a ReversePath,
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
            let missing = MissingHeaders {
                from: true,
                date,
                message_id,
            };
            assert_eq!(
                MissingHeaders::in_header(text.as_bytes()),
                missing,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_from_field_is_found_in_any_notation() {
        for (text, from) in [
            ("FROM : a\r\n", false),
            ("From:\r\n", false),
            ("Resent-From: a\r\n", true),
            ("Subject: x\r\n From: a\r\n", true),
        ] {
            assert_eq!(
                MissingHeaders::in_header(text.as_bytes()).from,
                from,
                "{text:?}"
            );
        }
    }

    #[test]
    fn missing_fields_are_added() {
        for (sender, [from, date, message_id], added) in [
            ("a@b.test", [false; 3], ""),
            ("a@b.test", [true, false, false], "From: a@b.test\r\n"),
            (
                "",
                [true, false, false],
                "From: MAILER-DAEMON@relay.test\r\n",
            ),
            (
                "a@b.test",
                [false, true, false],
                "Date: Sun, 06 Nov 1994 08:49:37 +0000\r\n",
            ),
            (
                "a@b.test",
                [false, false, true],
                "Message-ID: <0000000000001@relay.test>\r\n",
            ),
        ] {
            let missing = MissingHeaders {
                from,
                date,
                message_id,
            };
            let addition = Addition {
                id: QueueId::from_bits(1),
                hostname: "relay.test",
                now: UNIX_EPOCH + Duration::from_secs(784_111_777),
                sender: &sender.parse().expect("a path"),
            };
            assert_eq!(missing.filled(&addition), added);
        }
    }
}
