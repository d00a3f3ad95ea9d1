//! What is in the queue.

use serde::{Deserialize, Serialize};

/// A message of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name that every log line has.
    pub id: String,
    /// MAIL FROM; empty for the null path.
    pub sender: String,
    /// When it was accepted.
    pub arrived: u64,
    /// Octets.
    pub size: u64,
    /// Set aside by the operator.
    pub held: bool,
    /// RCPT TO.
    pub recipients: Vec<Recipient>,
}

/// One recipient of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// Where it stands.
    pub state: State,
    /// Attempts made so far.
    pub attempts: u32,
    /// Not before this will it be tried again, if that is known.
    pub next_attempt: Option<u64>,
    /// What it waits for, unless it is being tried or nothing more is.
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// How the last attempt ended: the remote's reply, or our own words if there was none.
    pub last_reply: Option<String>,
    /// The host that was asked last.
    pub host: Option<String>,
}

/// Where a recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for its first attempt.
    Queued,
    /// Waits for another attempt.
    Deferred,
    /// Is being tried.
    InFlight,
    /// Delivered.
    Done,
    /// Failed for good.
    Failed,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

impl State {
    /// Its name in lists.
    pub fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Deferred => "deferred",
            State::InFlight => "in-flight",
            State::Done => "done",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }

    /// Whether nothing more will be tried.
    pub fn is_settled(self) -> bool {
        matches!(self, State::Done | State::Failed)
    }
}

/// What a recipient waits for: of several things the one that has to come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The operator, who holds its message.
    Release,
    /// The operator, who has suspended its destination.
    Resume,
    /// Its destination, which is left alone for now.
    Destination,
    /// The time of its next attempt.
    Time,
    /// Its turn: it is due.
    Slot,
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

/// All that is known of one message: an [`Entry`] with more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The name that every log line has.
    pub id: String,
    /// MAIL FROM; empty for the null path.
    pub sender: String,
    /// When it was accepted.
    pub arrived: u64,
    /// Octets.
    pub size: u64,
    /// Set aside by the operator.
    pub held: bool,
    /// Who made it.
    pub origin: Origin,
    /// `BODY=8BITMIME`
    pub eight_bit: bool,
    /// `SMTPUTF8`
    pub utf8: bool,
    /// RCPT TO.
    pub recipients: Vec<RecipientDetail>,
}

/// Who made a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A client sent it.
    Client,
    /// Our report to a sender.
    Bounce,
    /// Our report to the postmaster that a bounce failed.
    DoubleBounce,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

/// One recipient, with how the last attempts went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientDetail {
    /// What the list has.
    #[serde(flatten)]
    pub recipient: Recipient,
    /// What its mail waits in line for.
    pub destination: String,
    /// The last attempts, the newest last.
    #[serde(default)]
    pub history: Vec<Attempt>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: u64,
    /// `delivered`, `deferred` or `failed`.
    pub verdict: String,
    /// The enhanced status, `4.4.1`.
    pub status: String,
    /// The step that decided: `connection`, `RCPT TO`.
    pub stage: String,
    /// The host that was asked.
    pub host: Option<String>,
    /// The address and port that it was asked at.
    pub address: Option<String>,
    /// What protected the connection: `TLSv1.3 TLS13_AES_256_GCM_SHA384 verified`.
    #[serde(default)]
    pub tls: Option<String>,
    /// The remote's whole reply.
    pub reply: Option<String>,
    /// Our own words, if no reply decided.
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_written_as_it_was_promised() {
        let entry = Entry {
            id: "06Q3ZV9WQ0K4D".to_owned(),
            sender: String::new(),
            arrived: 1,
            size: 2,
            held: false,
            recipients: vec![Recipient {
                address: "u@a.test".to_owned(),
                state: State::InFlight,
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
            serde_json::from_str::<Entry>(expected).expect("an entry"),
            entry
        );
    }

    #[test]
    fn states_have_one_name_and_those_of_later_versions_are_taken() {
        for state in [
            State::Queued,
            State::Deferred,
            State::InFlight,
            State::Done,
            State::Failed,
        ] {
            let json = serde_json::to_string(&state).expect("JSON");
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
        let later: State = serde_json::from_str("\"parked\"").expect("any state");
        assert_eq!(later, State::Unknown);
    }

    #[test]
    fn what_is_waited_for_may_be_missing_or_new() {
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
        let entry: Entry = serde_json::from_str(json).expect("an entry");
        assert_eq!(entry.recipients[0], detail.recipients[0].recipient);
    }
}
