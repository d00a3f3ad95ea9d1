//! The record of a message as it lies in the database: a version octet, then postcard.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_smtp::{ForwardPath, Outcome, ReversePath};
use serde::{Deserialize, Serialize};

use crate::id::QueueId;
use crate::message::{Message, Origin, Recipient, RecipientState};

/// The first octet of a record. A changed layout gets a new number and keeps reading the old one.
const VERSION: u8 = 1;

/// Where the bytes of a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// Head and body in the database, under the content key.
    Database,
    /// The body in `mess/ID`, the head in the database.
    BodyFile,
    /// Body and behind it the head in `mess/ID`.
    WholeFile,
}

impl Place {
    pub(crate) fn has_file(self) -> bool {
        match self {
            Place::Database => false,
            Place::BodyFile | Place::WholeFile => true,
        }
    }
}

/// Where the bytes are, how many, and their CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) place: Place,
    pub(crate) head: u64,
    pub(crate) body: u64,
    /// Over the body, then the head.
    pub(crate) checksum: u32,
}

impl Layout {
    /// Octets in all.
    pub(crate) fn size(&self) -> u64 {
        self.head.saturating_add(self.body)
    }
}

/// All that is recorded of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) message: Message,
    pub(crate) layout: Layout,
}

/// Not what [`Record::encode`] makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record is empty")]
    Empty,
    #[error("the record has version {0}, which this relayd does not know")]
    Version(u8),
    #[error("the record cannot be decoded: {0}")]
    Encoding(String),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    arrived: u64,
    origin: Origin,
    sender: ReversePath,
    recipients: Vec<StoredRecipient>,
    eight_bit: bool,
    utf8: bool,
    held: bool,
    layout: Layout,
}

#[derive(Serialize, Deserialize)]
struct StoredRecipient {
    address: ForwardPath,
    state: StoredState,
    attempts: u32,
    last: Option<(u64, Outcome)>,
}

#[derive(Serialize, Deserialize)]
enum StoredState {
    Queued,
    Deferred(u64),
    Done,
    Failed { reported: bool },
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let message = &self.message;
        let stored = Stored {
            arrived: micros(message.arrived),
            origin: message.origin,
            sender: message.sender.clone(),
            recipients: message.recipients.iter().map(store_recipient).collect(),
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            held: message.held,
            layout: self.layout,
        };
        postcard::to_extend(&stored, vec![VERSION])
            .expect("postcard writes any such value into a vector")
    }

    pub(crate) fn decode(id: QueueId, bytes: &[u8]) -> Result<Self, RecordError> {
        let (&version, rest) = bytes.split_first().ok_or(RecordError::Empty)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let (stored, rest): (Stored, _) =
            postcard::take_from_bytes(rest).map_err(|e| RecordError::Encoding(e.to_string()))?;
        if !rest.is_empty() {
            return Err(RecordError::Encoding(format!(
                "{} octets too many",
                rest.len()
            )));
        }
        let layout = stored.layout;
        let message = Message {
            id,
            arrived: time(stored.arrived),
            origin: stored.origin,
            sender: stored.sender,
            recipients: stored.recipients.into_iter().map(load_recipient).collect(),
            eight_bit: stored.eight_bit,
            utf8: stored.utf8,
            size: layout.size(),
            held: stored.held,
        };
        Ok(Self { message, layout })
    }
}

fn store_recipient(recipient: &Recipient) -> StoredRecipient {
    StoredRecipient {
        address: recipient.address.clone(),
        state: match recipient.state {
            RecipientState::Queued => StoredState::Queued,
            RecipientState::Deferred { next_attempt } => {
                StoredState::Deferred(micros(next_attempt))
            }
            RecipientState::Done => StoredState::Done,
            RecipientState::Failed { reported } => StoredState::Failed { reported },
        },
        attempts: recipient.attempts,
        last: recipient
            .last
            .as_ref()
            .map(|(at, outcome)| (micros(*at), outcome.clone())),
    }
}

fn load_recipient(stored: StoredRecipient) -> Recipient {
    Recipient {
        address: stored.address,
        state: match stored.state {
            StoredState::Queued => RecipientState::Queued,
            StoredState::Deferred(at) => RecipientState::Deferred {
                next_attempt: time(at),
            },
            StoredState::Done => RecipientState::Done,
            StoredState::Failed { reported } => RecipientState::Failed { reported },
        },
        attempts: stored.attempts,
        last: stored.last.map(|(at, outcome)| (time(at), outcome)),
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

/// Decodes a record and encodes it again; `None` if it cannot be read. For fuzzing alone.
#[doc(hidden)]
pub fn recode_record(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = Record::decode(QueueId::from_bits(0), bytes).ok()?;
    Some(record.encode())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use relay_smtp::{EnhancedStatus, Peer, Reply, Stage, Verdict};

    use super::*;

    fn example() -> Record {
        let outcome = Outcome {
            verdict: Verdict::Deferred,
            status: EnhancedStatus::transient(2, 0),
            stage: Stage::Rcpt,
            peer: Some(Peer {
                host: "mx.b.test".into(),
                address: "192.0.2.1:25".parse().expect("an address"),
            }),
            reply: Some(Reply::received(450, None, vec!["later".into()])),
            detail: String::new(),
        };
        let recipient = Recipient {
            address: "u@b.test".parse().expect("an address"),
            state: RecipientState::Deferred {
                next_attempt: time(9_000_000),
            },
            attempts: 3,
            last: Some((time(8_000_000), outcome)),
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
        };
        let layout = Layout {
            place: Place::BodyFile,
            head: 10,
            body: 20,
            checksum: 0xdead_beef,
        };
        Record { message, layout }
    }

    /// A queue on a disk is read by the relayd that comes after: these octets never change.
    const GOLDEN: &[u8] = b"\x01\xc0\x9f\xab\x03\x00\x08a@b.test\x01\x08u@b.test\x01\xc0\xa8\xa5\x04\x03\x01\
\x80\xa4\xe8\x03\x01\x01\x02\x00\x07\x01\x09mx.b.test\x00\xc0\x00\x02\x01\x19\x01\xc2\x03\x00\x01\x05later\x00\
\x01\x00\x00\x01\x0a\x14\xef\xfd\xb6\xf5\x0d";

    #[test]
    fn version_1_is_read_and_written_as_ever() {
        let encoded = example().encode();
        assert_eq!(
            encoded.escape_ascii().to_string(),
            GOLDEN.escape_ascii().to_string()
        );
        assert_eq!(Record::decode(QueueId::from_bits(5), GOLDEN), Ok(example()));
    }

    #[test]
    fn every_cut_and_every_flipped_octet_is_an_error_or_another_record() {
        let id = QueueId::from_bits(5);
        for end in 0..GOLDEN.len() {
            assert!(Record::decode(id, &GOLDEN[..end]).is_err(), "cut at {end}");
        }
        assert!(Record::decode(id, &[GOLDEN, b"x"].concat()).is_err());
        for at in 0..GOLDEN.len() {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 0xff;
            assert_ne!(Record::decode(id, &bytes), Ok(example()), "flipped at {at}");
        }
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
        let peer = prop::option::of((".*", any::<[u8; 16]>(), any::<u16>()));
        let lines = prop::collection::vec("[^\\p{C}]{0,80}", 1..5);
        let reply = prop::option::of((200..600u16, lines));
        (verdict, peer, reply, ".*").prop_map(|((verdict, status), peer, reply, detail)| Outcome {
            verdict,
            status,
            stage: Stage::Data,
            peer: peer.map(|(host, ip, port)| Peer {
                host,
                address: (ip, port).into(),
            }),
            reply: reply.map(|(code, lines)| Reply::received(code, None, lines)),
            detail,
        })
    }

    fn recipient() -> impl Strategy<Value = Recipient> {
        let state = prop_oneof![
            Just(RecipientState::Queued),
            stored_time().prop_map(|next_attempt| RecipientState::Deferred { next_attempt }),
            Just(RecipientState::Done),
            any::<bool>().prop_map(|reported| RecipientState::Failed { reported }),
        ];
        let last = prop::option::of((stored_time(), outcome()));
        let address = "[a-z0-9.+=]{1,30}@[a-z]{1,20}\\.test"
            .prop_filter_map("a path", |text| text.parse().ok());
        (address, state, any::<u32>(), last).prop_map(|(address, state, attempts, last)| {
            Recipient {
                address,
                state,
                attempts,
                last,
            }
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        let place = prop_oneof![
            Just(Place::Database),
            Just(Place::BodyFile),
            Just(Place::WholeFile)
        ];
        let layout = (place, any::<u64>(), any::<u64>(), any::<u32>());
        let recipients = prop::collection::vec(recipient(), 0..6);
        let origin = prop_oneof![
            Just(Origin::Client),
            Just(Origin::Bounce),
            Just(Origin::DoubleBounce)
        ];
        let bits = any::<[bool; 3]>();
        (stored_time(), origin, recipients, bits, layout).prop_map(
            |(arrived, origin, recipients, [eight_bit, utf8, held], layout)| {
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
                };
                Record { message, layout }
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(record in record()) {
            prop_assert_eq!(Record::decode(record.message.id, &record.encode()), Ok(record));
        }

        #[test]
        fn no_octets_make_a_record_that_does_not_encode_to_itself(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            is_known in any::<bool>(),
        ) {
            if let (true, Some(version)) = (is_known, bytes.first_mut()) {
                *version = VERSION;
            }
            if let Some(once) = recode_record(&bytes) {
                prop_assert!(once.len() <= bytes.len());
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
}
