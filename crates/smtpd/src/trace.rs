//! The trace header that every message gets (RFC 5321 §4.4).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use relay_queue::QueueId;
use relay_smtp::date::Date;
use relay_smtp::server::Hello;

/// What a Received field tells.
#[derive(Debug)]
pub(crate) struct Trace<'a> {
    pub(crate) client: IpAddr,
    pub(crate) hello: Option<&'a Hello>,
    /// Whether the transaction uses SMTPUTF8.
    pub(crate) utf8: bool,
    pub(crate) hostname: &'a str,
    pub(crate) arrived: SystemTime,
    /// Whether the message has no header section of its own: then an empty line ends ours, or the
    /// client's first line could become a part of our field.
    pub(crate) ends_header: bool,
}

impl Trace<'_> {
    /// The field, folded; only the client's own name can make a line long, and that is a domain or
    /// an address literal.
    pub(crate) fn to_header(&self, id: QueueId) -> Bytes {
        let mut field = String::with_capacity(256);
        field.push_str("Received: from ");
        // Nothing but DATA behind EHLO or HELO leads here.
        field.push_str(self.hello.map_or("unknown", |hello| hello.name.as_str()));
        let (hostname, protocol) = (self.hostname, self.protocol());
        let client = Literal(self.client);
        let date = Date(self.arrived);
        write!(
            field,
            " ({client})\r\n\tby {hostname} with {protocol} id {id};\r\n\t{date}\r\n"
        )
        .expect("writing to a String cannot fail");
        if self.ends_header {
            field.push_str("\r\n");
        }
        field.into()
    }

    /// RFC 3848, and RFC 6531 §4.3 for UTF8SMTP.
    fn protocol(&self) -> &'static str {
        match self.hello {
            _ if self.utf8 => "UTF8SMTP",
            Some(hello) if hello.extended => "ESMTP",
            _ => "SMTP",
        }
    }
}

/// RFC 5321 §4.1.3.
struct Literal(IpAddr);

impl std::fmt::Display for Literal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "[{address}]"),
            IpAddr::V6(address) => write!(f, "[IPv6:{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn trace<'a>(client: &str, hello: Option<&'a Hello>, utf8: bool) -> Trace<'a> {
        Trace {
            client: client.parse().expect(client),
            hello,
            utf8,
            hostname: "relay.test",
            arrived: UNIX_EPOCH + Duration::from_secs(784_111_777),
            ends_header: false,
        }
    }

    fn header(client: &str, hello: Option<&Hello>, utf8: bool) -> String {
        let trace = trace(client, hello, utf8);
        String::from_utf8(trace.to_header(QueueId::from_bits(1)).into()).expect("UTF-8")
    }

    fn hello(name: &str, extended: bool) -> Hello {
        let line = format!("EHLO {name}");
        match relay_smtp::command::parse(line.as_bytes()) {
            Ok(relay_smtp::command::Command::Ehlo(name)) => Hello { name, extended },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_tells_from_whom_by_whom_and_when() {
        assert_eq!(
            header("127.0.0.1", Some(&hello("client.test", true)), false),
            "Received: from client.test ([127.0.0.1])\r\n\
             \tby relay.test with ESMTP id 0000000000001;\r\n\
             \tSun, 06 Nov 1994 08:49:37 +0000\r\n"
        );
        let old = header("2001:db8::1", Some(&hello("[192.0.2.1]", false)), false);
        assert!(old.starts_with("Received: from [192.0.2.1] ([IPv6:2001:db8::1])\r\n"));
        assert!(old.contains("with SMTP id"));
    }

    #[test]
    fn an_empty_line_follows_where_the_message_has_no_header() {
        let field = Trace {
            ends_header: true,
            ..trace("127.0.0.1", None, false)
        };
        let field = field.to_header(QueueId::from_bits(1));
        assert!(field.ends_with(b" +0000\r\n\r\n"), "{field:?}");
    }

    #[test]
    fn every_line_is_short() {
        let field = header("2001:db8::1", Some(&hello("client.test", true)), false);
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
    }

    #[test]
    fn a_message_with_smtputf8_says_so() {
        let field = header("127.0.0.1", Some(&hello("client.test", true)), true);
        assert!(field.contains("with UTF8SMTP id"), "{field}");
    }
}
