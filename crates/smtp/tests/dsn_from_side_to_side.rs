//! DSN parameters reach the next host as they were written (RFC 3461 §5.2.1).

use std::time::Instant;

use proptest::prelude::*;
use relay_smtp::client::{ClientSession, Envelope, Event as ClientEvent, Plan};
use relay_smtp::dsn::{DsnRequest, Notify, Orcpt};
use relay_smtp::server::{
    BareAddress, Channel, ServerEvent, ServerSession, SessionLimits, Settings, Transaction,
};
use relay_smtp::{Recipient, ReversePath};

/// Plays one transaction of our client with our server and returns the commands that the server
/// received. The extensions in `hidden` are removed from the EHLO reply. No recipient is refused,
/// and the message is empty.
fn pass(recipients: &[Recipient], dsn: &DsnRequest, hidden: &str) -> Transaction {
    let now = now();
    let settings = Settings {
        hostname: "server.test".into(),
        limits: SessionLimits::default(),
        starttls: false,
        auth: false,
        bare_address: BareAddress::Refuse,
    };
    let mut server = ServerSession::new(settings, Channel::Clear, now);
    let mut client = ClientSession::new("client.test", Plan::CLEAR);
    let envelope = Envelope {
        sender: &"a@sender.test".parse::<ReversePath>().expect("a path"),
        recipients: &recipients.iter().collect::<Vec<_>>(),
        size: 10,
        eight_bit: false,
        utf8: false,
        dsn,
    };
    loop {
        let said = String::from_utf8(server.take_output()).expect("ASCII");
        let said = said.replace(&format!("250-{hidden}\r\n"), "");
        let said = said.replace(&format!("250 {hidden}\r\n"), "250 OTHER\r\n");
        let mut said = said.as_bytes();
        while let Some(event) = client.receive(&mut said) {
            match event {
                ClientEvent::Ready => drop(client.begin(&envelope)),
                ClientEvent::Content => {
                    client.output().extend_from_slice(b".\r\n");
                    client.content_sent();
                }
                other => panic!("{other:?}"),
            }
        }
        let said = std::mem::take(client.output());
        if let Some(transaction) = hear(&mut server, &said, now) {
            return transaction;
        }
    }
}

fn hear(server: &mut ServerSession, mut said: &[u8], now: Instant) -> Option<Transaction> {
    loop {
        let step = server.handle(said, &mut Vec::new(), now);
        said = &said[step.consumed..];
        match step.event? {
            ServerEvent::Mail(request) => server.accept_sender(request),
            ServerEvent::Rcpt(recipient) => server.accept_recipient(recipient),
            ServerEvent::Data => server.accept_message(),
            ServerEvent::MessageEnd(transaction) => return Some(transaction),
            ServerEvent::Content => {}
            other => panic!("{other:?} {}", said.escape_ascii()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
fn now() -> Instant {
    Instant::now()
}

fn dsn() -> impl Strategy<Value = DsnRequest> {
    let ret = prop::option::of(prop::sample::select(vec!["FULL", "HDRS"]));
    let envid = prop::option::of("([!-*,-<>-~]|[+]2[0-9A-F]){1,33}");
    (ret, envid).prop_map(|(ret, envid)| DsnRequest {
        ret: ret.map(|text| text.parse().expect("RET")),
        envid: envid.map(|text| text.parse().expect("xtext")),
    })
}

fn recipient() -> impl Strategy<Value = Recipient> {
    let all = [
        "",
        "NEVER",
        "SUCCESS",
        "FAILURE,DELAY",
        "SUCCESS,FAILURE,DELAY",
    ];
    let notify = prop::sample::select(all.to_vec());
    let orcpt = prop_oneof![
        "rfc822;([!-*,-<>-~]|[+]2[0-9A-F]){1,160}",
        "utf-8;[a-z@.é漢😀]{1,40}",
    ];
    ("[a-zé]{1,9}@d[.]test", notify, prop::option::of(orcpt)).prop_map(|(path, notify, orcpt)| {
        Recipient {
            path: path.parse().expect("a path"),
            notify: notify.parse().unwrap_or(Notify::Unspecified),
            orcpt: orcpt.map(|text| text.parse().expect("an address")),
        }
    })
}

proptest! {
    #[test]
    fn dsn_parameters_reach_a_peer_that_offers_dsn(
        dsn in dsn(),
        recipients in prop::collection::vec(recipient(), 1..5),
    ) {
        let told = pass(&recipients, &dsn, "NOTHING");
        let is_utf8 = recipients.iter().any(|r| !r.path.as_str().is_ascii());
        prop_assert_eq!(told.dsn, dsn);
        for (told, meant) in told.recipients.iter().zip(&recipients) {
            prop_assert_eq!((&told.path, told.notify), (&meant.path, meant.notify));
            let address = |r: &Recipient| r.orcpt.as_ref().map(Orcpt::address);
            prop_assert_eq!(address(told), address(meant));
            prop_assert!(!is_utf8 || told.orcpt == meant.orcpt);
        }
    }

    #[test]
    fn dsn_parameters_are_not_sent_to_a_peer_without_dsn(
        dsn in dsn(),
        recipients in prop::collection::vec(recipient(), 1..5),
    ) {
        let told = pass(&recipients, &dsn, "DSN");
        prop_assert_eq!(told.dsn, DsnRequest::default());
        for (told, meant) in told.recipients.iter().zip(&recipients) {
            prop_assert_eq!(told, &Recipient::from(meant.path.clone()));
        }
    }
}

#[test]
fn an_original_recipient_whose_ascii_form_is_too_long_is_left_out() {
    let mut recipient = Recipient::from(
        "u@d.test"
            .parse::<relay_smtp::ForwardPath>()
            .expect("a path"),
    );
    for (letters, arrives) in [(82, true), (83, false)] {
        let orcpt = format!("utf-8;{}", "é".repeat(letters));
        recipient.orcpt = Some(orcpt.parse().expect("an address"));
        let told = pass(
            std::slice::from_ref(&recipient),
            &DsnRequest::default(),
            "NOTHING",
        );
        assert_eq!(told.recipients[0].orcpt.is_some(), arrives, "{letters}");
    }
}
