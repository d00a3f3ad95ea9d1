//! The Received field that every message gets (RFC 5321 §4.4).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use relay_message::QueueId;
use relay_smtp::date::Date;
use relay_smtp::server::Hello;

use crate::client::ClientId;
use crate::tls::TlsFacts;

/// The values of a Received field.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) client: ClientId,
    pub(crate) hello: Option<&'a Hello>,
    /// Whether the transaction uses SMTPUTF8.
    pub(crate) utf8: bool,
    /// The TLS parameters of the connection, if it is under TLS.
    pub(crate) tls: Option<&'a TlsFacts>,
    /// Whether the client has logged in.
    pub(crate) authenticated: bool,
    pub(crate) hostname: &'a str,
    pub(crate) arrived: SystemTime,
}

impl Received<'_> {
    /// Formats the field, folded. Only the name that the client gave can make a line long. The cipher
    /// suite has a clause of its own (RFC 8314 §4.3).
    pub(crate) fn to_header(&self, id: QueueId) -> String {
        let mut field = String::with_capacity(384);
        field.push_str("Received: from ");
        // DATA is accepted only after EHLO or HELO, so the name is known.
        field.push_str(self.hello.map_or("unknown", |hello| hello.name.as_str()));
        let (hostname, protocol) = (self.hostname, self.protocol());
        let client = TcpInfo(self.client);
        let done = "writing to a String cannot fail";
        write!(
            field,
            " ({client})\r\n\tby {hostname} with {protocol} id {id}"
        )
        .expect(done);
        if let Some(TlsFacts {
            version, cipher, ..
        }) = self.tls
        {
            write!(field, "\r\n\ttls {cipher} ({version})").expect(done);
        }
        write!(field, ";\r\n\t{}\r\n", Date(self.arrived)).expect(done);
        field
    }

    /// RFC 3848, and RFC 6531 §4.3 for UTF8SMTP. There is no name for HELO under TLS.
    fn protocol(&self) -> &'static str {
        let is_extended = self.hello.is_some_and(|hello| hello.extended);
        match (
            is_extended,
            self.utf8,
            self.tls.is_some(),
            self.authenticated,
        ) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// The text in parentheses after the name of the client: an address literal (RFC 5321 §4.4), or a
/// comment for a user of this machine, who has no address.
struct TcpInfo(ClientId);

impl std::fmt::Display for TcpInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ClientId::Address(IpAddr::V4(address)) => write!(f, "[{address}]"),
            ClientId::Address(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
            uid @ ClientId::Uid(_) => uid.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn header(client: &str, hello: Option<&Hello>, utf8: bool) -> String {
        header_of(
            ClientId::Address(client.parse().expect(client)),
            hello,
            utf8,
        )
    }

    fn header_of(client: ClientId, hello: Option<&Hello>, utf8: bool) -> String {
        let received = Received {
            client,
            hello,
            utf8,
            tls: None,
            authenticated: false,
            hostname: "relay.test",
            arrived: UNIX_EPOCH + Duration::from_secs(784_111_777),
        };
        received.to_header(QueueId::from_bits(1))
    }

    fn hello(name: &str, extended: bool) -> Hello {
        let line = format!("EHLO {name}");
        match relay_smtp::command::parse(line.as_bytes()) {
            Ok(relay_smtp::command::Command::Ehlo(name)) => Hello { name, extended },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_names_the_client_the_server_and_the_time() {
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
    fn a_user_of_this_machine_is_named_by_its_uid() {
        let field = header_of(ClientId::Uid(1000), Some(&hello("localhost", true)), false);
        let told = "Received: from localhost (uid=1000)\r\n\tby relay.test with ESMTP id ";
        assert!(field.starts_with(told), "{field}");
    }

    #[test]
    fn every_line_is_short() {
        let field = header("2001:db8::1", Some(&hello("client.test", true)), false);
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
    }

    #[test]
    fn the_field_of_a_smtputf8_message_names_utf8smtp() {
        let field = header("127.0.0.1", Some(&hello("client.test", true)), true);
        assert!(field.contains("with UTF8SMTP id"), "{field}");
    }

    #[test]
    fn the_protocol_shows_tls_and_login() {
        let facts = TlsFacts {
            version: "TLSv1.2",
            cipher: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned(),
            server_name: None,
        };
        let hello = hello("client.test", true);
        for (utf8, tls, authenticated, protocol) in [
            (false, false, true, "ESMTPA"),
            (false, true, false, "ESMTPS"),
            (false, true, true, "ESMTPSA"),
            (true, false, true, "UTF8SMTPA"),
            (true, true, false, "UTF8SMTPS"),
            (true, true, true, "UTF8SMTPSA"),
        ] {
            let received = Received {
                client: ClientId::Address([127, 0, 0, 1].into()),
                hello: Some(&hello),
                utf8,
                tls: tls.then_some(&facts),
                authenticated,
                hostname: "relay.test",
                arrived: UNIX_EPOCH,
            };
            let field = received.to_header(QueueId::from_bits(1));
            assert!(
                field.contains(&format!("with {protocol} id 0000000000001")),
                "{field}"
            );
            let clause = "\r\n\ttls TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 (TLSv1.2);\r\n";
            assert_eq!(field.contains(clause), tls, "{field}");
            assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        }
    }
}
