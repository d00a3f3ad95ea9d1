//! Streams the events of messages as they happen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::Sender;
use relay_message::{QueueId, QueueStore, StoreError};
use relay_smtp::address::is_at;
use serde::Deserialize;
use tokio::time::timeout;

use super::error::ApiError;
use super::stream::stream;
use crate::log::{Follower, StreamItem};
use crate::shared::Shared;

/// At least this often a line is sent, if necessary an empty one, so that each side notices when
/// the other is gone.
const PULSE: Duration = Duration::from_secs(5);
/// How many messages to a domain a trace remembers. The oldest are forgotten first.
const KNOWN: usize = 100_000;
/// How many records are read from the store at a time.
const PAGE: usize = 500;

/// The message or the domain to follow. Exactly one of them must be given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    id: Option<String>,
    domain: Option<String>,
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    subject: Result<Query<Subject>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Subject { id, domain }) = subject?;
    // The follower starts before the first look at the queue, so no event is lost in between.
    let follower = shared.log.event_stream().follow();
    let trace = match (id, domain) {
        (Some(id), None) => match Trace::of_message(&shared, &id).await? {
            Some(trace) => trace,
            None => return Err(ApiError::NoMessage(id)),
        },
        (None, Some(domain)) => Trace::of_domain(&shared, domain).await?,
        _ => return Err(ApiError::WhichEvents),
    };
    Ok(stream("application/x-ndjson", |pieces| {
        send(shared, follower, trace, pieces)
    }))
}

/// Sends events until the client disconnects or no more can come. A slow client delays this task
/// only.
async fn send(
    shared: Arc<Shared>,
    mut follower: Follower,
    mut trace: Trace,
    mut out: Sender<Bytes>,
) {
    loop {
        let (line, is_last) = match timeout(PULSE, follower.next()).await {
            Err(_) => (Bytes::from_static(b"\n"), false),
            Ok(None) => return,
            // The last event of the message may be among the missed ones.
            Ok(Some(StreamItem::Missed(lines))) => {
                (missed(lines), trace.is_over(shared.store.as_ref()).await)
            }
            Ok(Some(StreamItem::Event(line))) => match trace.look(&shared, &line).await {
                Look::Other => continue,
                Look::Fits => (line, false),
                Look::Last => (line, true),
            },
        };
        if out.send_data(line).await.is_err() || is_last {
            return;
        }
    }
}

fn missed(lines: u64) -> Bytes {
    let message = format!("{lines} events were left out: they came faster than they were read");
    let line = serde_json::json!({"event": "missed", "lines": lines, "message": message});
    format!("{line}\n").into()
}

/// The fields of an event that name the messages and the domain it is about.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "event")]
    name: Option<String>,
    id: Option<String>,
    report: Option<String>,
    to: Option<String>,
    destination: Option<String>,
    verb: Option<String>,
}

impl Event {
    /// Returns whether the message has left the queue with this event.
    fn is_last(&self) -> bool {
        match self.name.as_deref() {
            Some("end msg") => true,
            Some("operator") => self.verb.as_deref() == Some("delete"),
            _ => false,
        }
    }

    fn id(&self) -> Option<QueueId> {
        self.id.as_ref()?.parse().ok()
    }
}

/// How an event relates to a trace.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Other,
    Fits,
    /// The event fits, and no other follows it.
    Last,
}

/// Which events to send.
enum Trace {
    Message(QueueId),
    Domain(Domain),
}

/// A domain and the messages to it. Most events name a message but no domain.
struct Domain {
    name: String,
    known: BTreeSet<QueueId>,
}

impl Trace {
    async fn of_message(shared: &Shared, id: &str) -> Result<Option<Self>, StoreError> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let message = shared.store.get(id).await?;
        Ok(message.map(|message| Self::Message(message.id)))
    }

    async fn of_domain(shared: &Shared, name: String) -> Result<Self, StoreError> {
        let mut domain = Domain {
            name,
            known: BTreeSet::new(),
        };
        let mut after = None;
        loop {
            let page = shared.store.scan(after, PAGE).await?;
            for message in &page {
                after = Some(message.id);
                domain.note(message);
            }
            if page.is_empty() {
                return Ok(Self::Domain(domain));
            }
        }
    }

    /// Returns whether no more events can come. If the store fails, it returns `false`.
    async fn is_over(&self, store: &impl QueueStore) -> bool {
        match self {
            Self::Message(id) => matches!(store.get(*id).await, Ok(None)),
            Self::Domain(_) => false,
        }
    }

    async fn look(&mut self, shared: &Shared, line: &[u8]) -> Look {
        // The log has written this line as an object in which these fields are strings.
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            return Look::Other;
        };
        match self {
            Self::Message(id) => look_for(*id, &event),
            Self::Domain(domain) => {
                if let (Some("new msg"), Some(id)) = (event.name.as_deref(), event.id())
                    && let Ok(Some(message)) = shared.store.get(id).await
                {
                    domain.note(&message);
                }
                domain.look(&event)
            }
        }
    }
}

fn look_for(id: QueueId, event: &Event) -> Look {
    let name = Some(id.to_string());
    match event.id == name {
        true if event.is_last() => Look::Last,
        true => Look::Fits,
        false if event.report == name => Look::Fits,
        false => Look::Other,
    }
}

impl Domain {
    fn note(&mut self, message: &relay_message::Message) {
        let mut rows = message.recipients.iter();
        if rows.any(|row| self.is_of(row.to.path.as_str())) {
            self.add(message.id);
        }
    }

    fn add(&mut self, id: QueueId) {
        self.known.insert(id);
        if self.known.len() > KNOWN {
            self.known.pop_first();
        }
    }

    fn is_of(&self, address: &str) -> bool {
        is_at(address, &self.name)
    }

    /// Matches an event. The trace of a domain has no last event, because other messages may
    /// arrive.
    fn look(&mut self, event: &Event) -> Look {
        let is_there = event.destination.as_ref();
        let is_there = is_there.is_some_and(|to| to.eq_ignore_ascii_case(&self.name));
        let names_it = is_there || event.to.as_ref().is_some_and(|to| self.is_of(to));
        let Some(id) = event.id() else {
            return if names_it { Look::Fits } else { Look::Other };
        };
        if names_it {
            self.add(id);
        }
        let is_known = self.known.contains(&id);
        if event.is_last() {
            self.known.remove(&id);
        }
        if is_known { Look::Fits } else { Look::Other }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use relay_message::Envelope;
    use relay_queue::MemoryStore;
    use relay_smtp::ReversePath;
    use relay_smtp::dsn::DsnRequest;

    use super::*;

    fn event(json: &str) -> Event {
        serde_json::from_str(json).expect("an event")
    }

    #[test]
    fn a_trace_has_the_events_of_one_message_until_its_end() {
        let id = QueueId::from_bits(7);
        let of = |id: QueueId, rest: &str| event(&format!(r#"{{"id":"{id}",{rest}}}"#));
        let other = QueueId::from_bits(8);
        for (event, expected) in [
            (of(id, r#""event":"info msg","bytes":7"#), Look::Fits),
            (of(other, r#""event":"info msg""#), Look::Other),
            (event(r#"{"event":"status"}"#), Look::Other),
            (of(id, r#""event":"operator","verb":"hold""#), Look::Fits),
            (of(id, r#""event":"operator","verb":"delete""#), Look::Last),
            (of(id, r#""event":"end msg""#), Look::Last),
            (of(other, r#""event":"end msg""#), Look::Other),
            (of(other, &format!(r#""report":"{id}""#)), Look::Fits),
        ] {
            assert_eq!(look_for(id, &event), expected, "{event:?}");
        }
    }

    #[test]
    fn a_message_to_the_domain_is_known_from_its_first_delivery_to_its_end() {
        let mut domain = Domain {
            name: "a.test".to_owned(),
            known: BTreeSet::new(),
        };
        let id = QueueId::from_bits(7);
        let of = |rest: &str| event(&format!(r#"{{"id":"{id}",{rest}}}"#));
        for (event, expected) in [
            (of(r#""event":"info msg""#), Look::Other),
            (of(r#""to":"u@b.a.test""#), Look::Other),
            (of(r#""event":"delivery","to":"u@A.test""#), Look::Fits),
            (of(r#""event":"operator","verb":"hold""#), Look::Fits),
            (of(r#""event":"end msg""#), Look::Fits),
            (of(r#""event":"end msg""#), Look::Other),
            (of(r#""destination":"a.test""#), Look::Fits),
            (event(r#"{"event":"refused","to":"v@a.test"}"#), Look::Fits),
            (event(r#"{"event":"refused","to":"a.test"}"#), Look::Other),
        ] {
            assert_eq!(domain.look(&event), expected, "{event:?}");
        }
    }

    #[tokio::test]
    async fn a_trace_ends_if_the_end_of_its_message_was_missed() {
        let store = MemoryStore::default();
        let spool = store.begin().expect("a spool");
        let envelope = Envelope {
            sender: ReversePath::Null,
            recipients: Vec::new(),
            eight_bit: false,
            utf8: false,
            dsn: DsnRequest::default(),
        };
        let message = store
            .commit(spool, envelope, SystemTime::UNIX_EPOCH, Bytes::new())
            .await
            .expect("committed");
        let trace = Trace::Message(message.id);
        assert!(!trace.is_over(&store).await);
        store.delete(message.id).await.expect("deleted");
        assert!(trace.is_over(&store).await);
    }

    #[test]
    fn the_number_of_known_messages_is_bounded() {
        let mut domain = Domain {
            name: "a.test".to_owned(),
            known: BTreeSet::new(),
        };
        (0..KNOWN as u64 + 5).for_each(|bits| domain.add(QueueId::from_bits(bits)));
        assert_eq!(domain.known.len(), KNOWN);
        assert_eq!(domain.known.first(), Some(&QueueId::from_bits(5)));
    }
}
