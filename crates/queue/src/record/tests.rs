//! The golden octets of both versions, and arbitrary octets.

use proptest::prelude::*;
use relay_message::{HISTORY, Origin, QueuedRecipient, Recipient, RecipientState};
use relay_smtp::dsn::{DsnRequest, Notify, Occasions, Orcpt, Ret};
use relay_smtp::outcome::{TlsName, TlsParameters};
use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

use super::*;

fn deferred(host: &str) -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(2, 0),
        stage: Stage::Rcpt,
        peer: Some(Peer {
            host: host.into(),
            address: "192.0.2.1:25".parse().expect("an address"),
            tls: None,
        }),
        reply: Some(Reply::received(450, None, vec!["later".into()])),
        detail: String::new(),
    }
}

/// A record that both versions can store.
fn example() -> Record {
    let to: Recipient = Recipient::from(
        "u@b.test"
            .parse::<relay_smtp::ForwardPath>()
            .expect("a path"),
    );
    let recipient = QueuedRecipient {
        state: RecipientState::Deferred {
            next_attempt: time(9_000_000),
        },
        attempts: 3,
        history: vec![(time(8_000_000), deferred("mx.b.test"))],
        ..QueuedRecipient::new(to)
    };
    let message = Message {
        id: QueueId::from_bits(5),
        arrived: time(7_000_000),
        origin: Origin::Client,
        sender: "a@b.test".parse().expect("an address"),
        recipients: vec![recipient],
        eight_bit: true,
        utf8: false,
        size: 30,
        held: false,
        released: false,
        dsn: DsnRequest::default(),
    };
    let layout = Layout {
        place: ContentPlace::BodyFile,
        head: 10,
        body: 20,
        checksum: 0xdead_beef,
    };
    Record { message, layout }
}

/// A record that only version 2 can store.
fn example_2() -> Record {
    let mut record = example();
    record.message.dsn = DsnRequest {
        ret: Some(Ret::Headers),
        envid: Some("QQ+20314".parse().expect("an envelope id")),
    };
    let recipient = &mut record.message.recipients[0];
    recipient.to.notify = Notify::On(Occasions::new(true, false, true).expect("two occasions"));
    recipient.to.orcpt = Some("rfc822;list@b.test".parse().expect("an address"));
    recipient.delay_told = true;
    let mut outcome = deferred("mx2.b.test");
    outcome.peer.as_mut().expect("a peer").tls = Some(TlsParameters {
        version: TlsName::known("TLSv1.3"),
        cipher: TlsName::known("TLS13_AES_256_GCM_SHA384"),
        verified: true,
    });
    let earlier = (time(7_500_000), outcome);
    recipient.history.insert(0, earlier);
    record
}

/// A later relayd must read the queues of this one, so these octets never change.
const GOLDEN_1: &[u8] = b"\x01\xc0\x9f\xab\x03\x00\x08a@b.test\x01\x08u@b.test\x01\xc0\xa8\xa5\x04\x03\x01\
\x80\xa4\xe8\x03\x01\x01\x02\x00\x07\x01\x09mx.b.test\x00\xc0\x00\x02\x01\x19\x01\xc2\x03\x00\x01\x05later\x00\
\x01\x00\x00\x01\x0a\x14\xef\xfd\xb6\xf5\x0d";
const GOLDEN_2: &[u8] = b"\x02\xc0\x9f\xab\x03\x00\x08a@b.test\x01\x01\x01\x08QQ+20314\x01\x08u@b.test\
\x02\x01\x00\x01\x01\x12rfc822;list@b.test\x01\xc0\xa8\xa5\x04\x03\x01\x02\xe0\xe1\xc9\x03\x01\x01\x02\x00\x07\
\x01\x0amx2.b.test\x00\xc0\x00\x02\x01\x19\x01\xc2\x03\x00\x01\x05later\x00\x01\x07TLSv1.3\
\x18TLS13_AES_256_GCM_SHA384\x01\x80\xa4\xe8\x03\x01\x01\x02\x00\x07\x01\x09mx.b.test\x00\xc0\x00\x02\
\x01\x19\x01\xc2\x03\x00\x01\x05later\x00\x00\x01\x00\x00\x01\x0a\x14\xef\xfd\xb6\xf5\x0d";

#[test]
fn version_1_is_read_as_before() {
    assert_eq!(
        Record::decode(QueueId::from_bits(5), GOLDEN_1),
        Ok(example())
    );
}

#[test]
fn version_2_is_read_and_written_as_before() {
    assert_eq!(
        example_2().encode().escape_ascii().to_string(),
        GOLDEN_2.escape_ascii().to_string()
    );
    assert_eq!(
        Record::decode(QueueId::from_bits(5), GOLDEN_2),
        Ok(example_2())
    );
}

#[test]
fn a_record_of_version_1_is_rewritten_in_version_2_without_loss() {
    let encoded = example().encode();
    assert_eq!(encoded[0], 2);
    assert_eq!(
        Record::decode(QueueId::from_bits(5), &encoded),
        Ok(example())
    );
}

#[test]
fn every_cut_and_every_flipped_octet_is_an_error_or_another_record() {
    let id = QueueId::from_bits(5);
    for (golden, record) in [(GOLDEN_1, example()), (GOLDEN_2, example_2())] {
        for end in 0..golden.len() {
            assert!(Record::decode(id, &golden[..end]).is_err(), "cut at {end}");
        }
        assert!(Record::decode(id, &[golden, b"x"].concat()).is_err());
        for at in 0..golden.len() {
            let mut bytes = golden.to_vec();
            bytes[at] ^= 0xff;
            let found = Record::decode(id, &bytes);
            assert_ne!(found.as_ref(), Ok(&record), "flipped at {at}");
        }
    }
}

#[test]
fn an_overlong_history_is_cut() {
    let mut record = example();
    let attempt = |n| (time(n), deferred("mx.b.test"));
    record.message.recipients[0].history = (0..20).map(attempt).collect();
    let found = Record::decode(QueueId::from_bits(5), &record.encode());
    let message = found.expect("a record").message;
    let expected: Vec<_> = (20 - HISTORY as u64..20).map(attempt).collect();
    assert_eq!(message.recipients[0].history, expected);
}

fn stored_time() -> impl Strategy<Value = SystemTime> {
    any::<u64>().prop_map(time)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let verdict = prop_oneof![
        Just((Verdict::Delivered, EnhancedStatus::success(0, 0))),
        Just((Verdict::Deferred, EnhancedStatus::transient(4, 7))),
        Just((Verdict::Failed, EnhancedStatus::permanent(1, 1))),
    ];
    let tls =
        ("TLSv1\\.[23]", "[!-~]{1,64}", any::<bool>()).prop_map(|(version, cipher, verified)| {
            let name = |text: String| TlsName::try_from(text).expect("a name");
            let (version, cipher) = (name(version), name(cipher));
            TlsParameters {
                version,
                cipher,
                verified,
            }
        });
    let peer = (".*", any::<[u8; 16]>(), any::<u16>(), prop::option::of(tls));
    let peer = prop::option::of(peer);
    let lines = prop::collection::vec("[^\\p{C}]{0,80}", 1..5);
    let reply = prop::option::of((200..600u16, lines));
    (verdict, peer, reply, ".*").prop_map(|((verdict, status), peer, reply, detail)| Outcome {
        verdict,
        status,
        stage: Stage::Data,
        peer: peer.map(|(host, ip, port, tls)| Peer {
            host,
            address: (ip, port).into(),
            tls,
        }),
        reply: reply.map(|(code, lines)| Reply::received(code, None, lines)),
        detail,
    })
}

fn recipient() -> impl Strategy<Value = QueuedRecipient> {
    let state = prop_oneof![
        Just(RecipientState::Queued),
        stored_time().prop_map(|next_attempt| RecipientState::Deferred { next_attempt }),
        Just(RecipientState::Done),
        any::<bool>().prop_map(|reported| RecipientState::Failed { reported }),
    ];
    let history = prop::collection::vec((stored_time(), outcome()), 0..=HISTORY);
    let address =
        "[a-z0-9.+=]{1,30}@[a-z]{1,20}\\.test".prop_filter_map("a path", |text| text.parse().ok());
    let notify = (any::<[bool; 3]>(), any::<bool>()).prop_map(|([s, f, d], never)| {
        let on = Occasions::new(s, f, d).map(Notify::On);
        on.unwrap_or(if never {
            Notify::Never
        } else {
            Notify::Unspecified
        })
    });
    let orcpt = prop::option::of("(rfc822|utf-8);[a-z@.\u{e0}-\u{ff}]{1,40}")
        .prop_map(|text| text.and_then(|text| text.parse::<Orcpt>().ok()));
    let rest = (any::<u32>(), any::<bool>(), history);
    (address, notify, orcpt, state, rest).prop_map(|(path, notify, orcpt, state, rest)| {
        let (attempts, delay_told, history) = rest;
        let to = Recipient {
            path,
            notify,
            orcpt,
        };
        QueuedRecipient {
            to,
            state,
            attempts,
            delay_told,
            history,
        }
    })
}

fn dsn() -> impl Strategy<Value = DsnRequest> {
    let ret = prop::option::of(prop_oneof![Just(Ret::Full), Just(Ret::Headers)]);
    let envid = prop::option::of("([a-z]|[+]2B){1,30}");
    (ret, envid).prop_map(|(ret, envid)| DsnRequest {
        ret,
        envid: envid.and_then(|text| text.parse().ok()),
    })
}

fn record() -> impl Strategy<Value = Record> {
    let place = prop_oneof![
        Just(ContentPlace::Journal),
        Just(ContentPlace::BodyFile),
        Just(ContentPlace::WholeFile)
    ];
    let layout = (place, any::<u64>(), any::<u64>(), any::<u32>());
    let recipients = prop::collection::vec(recipient(), 0..6);
    let origin = prop_oneof![
        Just(Origin::Client),
        Just(Origin::Bounce),
        Just(Origin::DoubleBounce)
    ];
    let bits = any::<[bool; 4]>();
    let head = (stored_time(), origin, dsn());
    (head, recipients, bits, layout).prop_map(
        |((arrived, origin, dsn), recipients, [eight_bit, utf8, held, released], layout)| {
            let (place, head, body, checksum) = layout;
            let layout = Layout {
                place,
                head,
                body,
                checksum,
            };
            let message = Message {
                id: QueueId::from_bits(5),
                arrived,
                origin,
                sender: "a@b.test".parse().expect("an address"),
                recipients,
                eight_bit,
                utf8,
                size: layout.size(),
                held,
                released: released && !held,
                dsn,
            };
            Record { message, layout }
        },
    )
}

proptest! {
    #[test]
    fn an_encoded_record_is_decoded_again(record in record()) {
        prop_assert_eq!(Record::decode(record.message.id, &record.encode()), Ok(record));
    }

    #[test]
    fn any_octets_that_decode_encode_to_themselves(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        known in prop::option::of(1..=VERSION),
    ) {
        if let (Some(known), Some(version)) = (known, bytes.first_mut()) {
            *version = known;
        }
        if let Some(once) = recode_record(&bytes) {
            // A recipient of version 1 has seven octets at least, and becomes three longer, or four
            // with an attempt.
            prop_assert!(once.len() <= bytes.len() * 2);
            prop_assert_eq!(recode_record(&once), Some(once.clone()));
        }
    }

    #[test]
    fn a_record_with_other_octets_in_it_is_refused_or_encodes_to_itself(
        record in record(),
        others in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = record.encode();
        for (at, octet) in others {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        if let Some(once) = recode_record(&bytes) {
            prop_assert_eq!(recode_record(&once), Some(once.clone()));
        }
    }
}
