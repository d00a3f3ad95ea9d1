//! Contents of new messages in memory, for their first attempt.
//!
//! A message is usually delivered a moment after it was accepted. This saves the reading of what was
//! just written. The memory is bounded: the oldest contents give way to new ones, and are read from
//! the disk when they are needed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use relay_message::{Body, Content, QueueId};

/// The octets of all contents in memory.
const BUDGET: usize = 16 << 20;
/// What a message costs beside its octets.
const OVERHEAD: usize = 384;

/// The contents.
#[derive(Debug, Default)]
pub(crate) struct FreshContents {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    contents: HashMap<QueueId, (Bytes, Bytes)>,
    /// In the order in which they came. Some of them may be gone.
    order: VecDeque<QueueId>,
    octets: usize,
}

impl FreshContents {
    /// Keeps a content, if it is not larger than the memory.
    pub(crate) fn keep(&self, id: QueueId, head: &[u8], body: Bytes) {
        // The head may be a part of a much larger buffer.
        let head = Bytes::copy_from_slice(head);
        let octets = cost(&head, &body);
        if octets > BUDGET {
            return;
        }
        let mut kept = self.lock();
        while kept.octets + octets > BUDGET {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            kept.remove(oldest);
        }
        kept.octets += octets;
        kept.contents.insert(id, (head, body));
        kept.order.push_back(id);
    }

    /// Takes the content of a message.
    pub(crate) fn take(&self, id: QueueId) -> Option<Content> {
        let (head, body) = self.lock().remove(id)?;
        Some(Content {
            head,
            body: Body::Inline(body),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, id: QueueId) -> Option<(Bytes, Bytes)> {
        let (head, body) = self.contents.remove(&id)?;
        self.octets -= cost(&head, &body);
        // What is gone at the front needs no place in the order any more.
        while self
            .order
            .front()
            .is_some_and(|first| !self.contents.contains_key(first))
        {
            self.order.pop_front();
        }
        Some((head, body))
    }
}

fn cost(head: &Bytes, body: &Bytes) -> usize {
    head.len() + body.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u64) -> QueueId {
        QueueId::from_bits(bits)
    }

    #[test]
    fn a_content_is_given_once() {
        let fresh = FreshContents::default();
        fresh.keep(id(1), b"head", "body".into());
        let content = fresh.take(id(1)).expect("it is there");
        assert_eq!(content.head, "head");
        assert!(matches!(content.body, Body::Inline(body) if body == "body"));
        assert!(fresh.take(id(1)).is_none());
        assert_eq!(fresh.lock().octets, 0);
    }

    #[test]
    fn the_oldest_contents_give_way() {
        let fresh = FreshContents::default();
        let body = Bytes::from(vec![0; 1 << 20]);
        for bits in 0..20 {
            fresh.keep(id(bits), b"", body.clone());
            assert!(fresh.lock().octets <= BUDGET);
        }
        assert!(fresh.take(id(0)).is_none());
        assert!(fresh.take(id(19)).is_some());
        fresh.keep(id(99), b"", vec![0; BUDGET].into());
        assert!(fresh.take(id(99)).is_none());
        for bits in 0..20 {
            fresh.take(id(bits));
        }
        let kept = fresh.lock();
        assert_eq!((kept.octets, kept.order.len()), (0, 0));
    }
}
