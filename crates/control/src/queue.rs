//! The messages in the queue, as the control API describes them.

use serde::{Deserialize, Serialize};

/// A message in the list of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// The id, as in the log and in the reply to the client.
    pub id: String,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// When the message was accepted, in seconds since 1970.
    pub arrived: u64,
    /// The size in octets.
    pub size: u64,
    /// Whether the operator holds the message.
    pub held: bool,
    /// The recipients, in the order of the RCPT commands.
    pub recipients: Vec<Recipient>,
}

/// A recipient of a message in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// The state of delivery to this recipient.
    pub state: DeliveryState,
    /// How many attempts were made so far.
    pub attempts: u32,
    /// The earliest time of the next attempt in seconds since 1970, if it is known.
    pub next_attempt: Option<u64>,
    /// What the recipient waits for; `None` if it is being tried or is settled.
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// The result of the last attempt: the remote server's reply, or our description without one.
    pub last_reply: Option<String>,
    /// The host of the last attempt.
    pub host: Option<String>,
}

/// The state of delivery to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// The recipient waits for its first attempt.
    Queued,
    /// The recipient waits for another attempt.
    Deferred,
    /// An attempt is under way.
    InFlight,
    /// The message was delivered.
    Done,
    /// Delivery has failed permanently.
    Failed,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

impl DeliveryState {
    /// Returns its name in lists.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Queued => "queued",
            DeliveryState::Deferred => "deferred",
            DeliveryState::InFlight => "in-flight",
            DeliveryState::Done => "done",
            DeliveryState::Failed => "failed",
            DeliveryState::Unknown => "unknown",
        }
    }

    /// Whether no more attempts will be made.
    pub fn is_settled(self) -> bool {
        matches!(self, DeliveryState::Done | DeliveryState::Failed)
    }
}

/// What a recipient waits for. If it waits for several things, this is the one that must come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The release of its message, which the operator holds.
    Release,
    /// The resumption of its destination, which the operator has suspended.
    Resume,
    /// The end of the pause that its destination has after failures.
    Destination,
    /// The time of its next attempt.
    Time,
    /// A slot at its destination: the attempt is due.
    Slot,
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

/// Everything about one message: a [`QueueEntry`] with more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The id, as in the log and in the reply to the client.
    pub id: String,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// When the message was accepted, in seconds since 1970.
    pub arrived: u64,
    /// The size in octets.
    pub size: u64,
    /// Whether the operator holds the message.
    pub held: bool,
    /// Who created the message.
    pub origin: Origin,
    /// Whether the client declared `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// Whether the client declared `SMTPUTF8`.
    pub utf8: bool,
    /// The recipients, in the order of the RCPT commands.
    pub recipients: Vec<RecipientDetail>,
}

/// Who created a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A client sent it.
    Client,
    /// Our report to a sender.
    Bounce,
    /// Our report to the postmaster that a bounce failed.
    DoubleBounce,
    /// An origin of a later version.
    #[serde(other)]
    Unknown,
}

/// A recipient with the last attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientDetail {
    /// The fields of the list.
    #[serde(flatten)]
    pub recipient: Recipient,
    /// The destination whose slots and pauses apply to it.
    pub destination: String,
    /// The last attempts, the latest last.
    #[serde(default)]
    pub history: Vec<PastAttempt>,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// `delivered`, `deferred` or `failed`.
    pub verdict: String,
    /// The enhanced status code (RFC 3463), such as `4.4.1`.
    pub status: String,
    /// The step that decided the result, such as `connection` or `RCPT TO`.
    pub stage: String,
    /// The host that was contacted.
    pub host: Option<String>,
    /// The address and port of the host.
    pub address: Option<String>,
    /// The TLS parameters, such as `TLSv1.3 TLS13_AES_256_GCM_SHA384 verified`; `None` without TLS.
    #[serde(default)]
    pub tls: Option<String>,
    /// The complete reply of the remote server.
    pub reply: Option<String>,
    /// Our description, if no reply decided the result.
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_the_list_does_not_change() {
        let entry = QueueEntry {
            id: "06Q3ZV9WQ0K4D".to_owned(),
            sender: String::new(),
            arrived: 1,
            size: 2,
            held: false,
            recipients: vec![Recipient {
                address: "u@a.test".to_owned(),
                state: DeliveryState::InFlight,
                attempts: 3,
                next_attempt: None,
                waits_for: Some(WaitsFor::Resume),
                last_reply: Some("450 4.2.0 later".to_owned()),
                host: Some("mx.a.test".to_owned()),
            }],
        };
        let expected = r#"{"id":"06Q3ZV9WQ0K4D","sender":"","arrived":1,"size":2,"held":false,"recipients":[{"address":"u@a.test","state":"in-flight","attempts":3,"next_attempt":null,"waits_for":"resume","last_reply":"450 4.2.0 later","host":"mx.a.test"}]}"#;
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), expected);
        assert_eq!(
            serde_json::from_str::<QueueEntry>(expected).expect("an entry"),
            entry
        );
    }

    #[test]
    fn states_have_one_name_and_unknown_states_are_accepted() {
        for state in [
            DeliveryState::Queued,
            DeliveryState::Deferred,
            DeliveryState::InFlight,
            DeliveryState::Done,
            DeliveryState::Failed,
        ] {
            let json = serde_json::to_string(&state).expect("JSON");
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
        let later: DeliveryState = serde_json::from_str("\"parked\"").expect("any state");
        assert_eq!(later, DeliveryState::Unknown);
    }

    #[test]
    fn the_reason_for_waiting_may_be_missing_or_unknown() {
        let recipient = |waits_for: &str| {
            let json = format!(
                r#"{{"address":"a","state":"queued","attempts":0,"next_attempt":null,{waits_for}"last_reply":null,"host":null}}"#
            );
            let recipient: Recipient = serde_json::from_str(&json).expect("a recipient");
            recipient.waits_for
        };
        assert_eq!(recipient(""), None);
        assert_eq!(recipient(r#""waits_for":"slot","#), Some(WaitsFor::Slot));
        assert_eq!(recipient(r#""waits_for":"rain","#), Some(WaitsFor::Unknown));
    }

    #[test]
    fn a_detail_is_an_entry_with_more_fields() {
        let json = r#"{"id":"x","sender":"s","arrived":1,"size":2,"held":true,"origin":"bounce","eight_bit":false,"utf8":false,"recipients":[{"address":"a","state":"done","attempts":1,"next_attempt":null,"waits_for":null,"last_reply":null,"host":null,"destination":"d","history":[]}]}"#;
        let detail: Detail = serde_json::from_str(json).expect("a detail");
        assert_eq!(serde_json::to_string(&detail).expect("JSON"), json);
        let entry: QueueEntry = serde_json::from_str(json).expect("an entry");
        assert_eq!(entry.recipients[0], detail.recipients[0].recipient);
    }
}
