//! Compares the effect of any sequence of operations with a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use relay_message::{Books, Claim, HoldResult, Message, QueueId, QueueStore, Spool, StoreError};
use relay_queue::{MemoryStore, SledStore};
use tokio::runtime::{Builder, Runtime};

use crate::stores::{
    Harness, InMemory, OnDisk, all, at, balanced, bounce, bytes, changes, commit, counts, deferred,
    done, octets,
};

/// One operation. `usize` chooses one of the existing messages.
#[derive(Debug, Clone)]
enum Step {
    Commit {
        recipients: usize,
        head: usize,
        body: usize,
    },
    /// Starts to spool a message and drops it.
    GiveUp {
        body: usize,
    },
    Claim(usize),
    Settle {
        message: usize,
        changed: Vec<(usize, bool)>,
        bounce: Option<usize>,
    },
    Release(usize),
    Open(usize),
    Hold(usize, bool),
    Delete(usize),
    Reopen,
    /// Drops the store without closing it.
    Drop,
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..200usize, 1 => 3_000..12_000usize, 1 => Just(150_000)]
}

fn step() -> impl Strategy<Value = Step> {
    let recipients = prop_oneof![4 => 1..4usize, 1 => Just(150)];
    prop_oneof![
        6 => (recipients, length(), length())
            .prop_map(|(recipients, head, body)| Step::Commit { recipients, head, body }),
        1 => length().prop_map(|body| Step::GiveUp { body }),
        5 => any::<usize>().prop_map(Step::Claim),
        8 => (
            any::<usize>(),
            prop::collection::vec((0..5usize, any::<bool>()), 0..4),
            prop::option::weighted(0.2, length()),
        )
            .prop_map(|(message, changed, bounce)| Step::Settle { message, changed, bounce }),
        1 => any::<usize>().prop_map(Step::Release),
        3 => any::<usize>().prop_map(Step::Open),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(n, held)| Step::Hold(n, held)),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => Just(Step::Reopen),
        1 => Just(Step::Drop),
    ]
}

/// The expected queue.
#[derive(Default)]
struct Model {
    messages: BTreeMap<QueueId, Expected>,
    /// Every claim that was ever taken. Only the last one on each message is valid.
    claims: Vec<Claim>,
    held: BTreeMap<QueueId, Claim>,
    books: Books,
}

struct Expected {
    message: Message,
    head: usize,
    body: usize,
}

impl Model {
    fn nth(&self, n: usize) -> Option<QueueId> {
        let ids: Vec<QueueId> = self.messages.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[n % ids.len()])
    }

    fn claim(&self, n: usize) -> Option<Claim> {
        (!self.claims.is_empty()).then(|| self.claims[n % self.claims.len()])
    }

    fn holds(&self, claim: Claim) -> bool {
        self.held.get(&claim.id) == Some(&claim)
    }

    /// All claims end with the process.
    fn forget_claims(&mut self) {
        self.held.clear();
        self.claims.clear();
    }

    async fn apply<S: QueueStore>(&mut self, store: &S, step: &Step) {
        match *step {
            Step::Commit {
                recipients,
                head,
                body,
            } => {
                let committed = commit(store, recipients, &octets(head), &octets(body)).await;
                let message = committed.expect("committed");
                self.books.accepted += recipients as u64;
                self.messages.insert(
                    message.id,
                    Expected {
                        message,
                        head,
                        body,
                    },
                );
            }
            Step::GiveUp { body } => {
                let mut spool = store.begin().expect("a spool");
                spool.write(&octets(body)).await.expect("written");
            }
            Step::Claim(n) => {
                let Some(id) = self.nth(n) else { return };
                let claimed = store.claim(id).await.expect("claimed");
                let (claim, message) = claimed.expect("it is there");
                assert_eq!(message, self.messages[&id].message);
                self.claims.push(claim);
                self.held.insert(id, claim);
            }
            Step::Settle {
                message,
                ref changed,
                bounce,
            } => {
                let Some(claim) = self.claim(message) else {
                    return;
                };
                self.settle(store, claim, changed, bounce).await;
            }
            Step::Release(n) => {
                let Some(claim) = self.claim(n) else { return };
                store.release(claim);
                if self.holds(claim) {
                    self.held.remove(&claim.id);
                }
            }
            Step::Open(n) => {
                let Some(claim) = self.claim(n) else { return };
                self.open(store, claim).await;
            }
            Step::Hold(n, held) => {
                let Some(id) = self.nth(n) else { return };
                let message = &mut self.messages.get_mut(&id).expect("the n-th").message;
                let changed = message.held != held;
                message.released = !held && (message.held || message.released);
                message.held = held;
                let found = store.set_held(id, held).await.expect("recorded");
                let message = message.clone();
                assert_eq!(found, Some(HoldResult { message, changed }));
            }
            Step::Delete(n) => {
                let Some(id) = self.nth(n) else { return };
                let expected = self.messages.remove(&id).expect("the n-th");
                self.held.remove(&id);
                self.books.discarded += expected.message.outstanding();
                let deleted = store.delete(id).await.expect("deleted");
                assert_eq!(deleted, Some(expected.message));
            }
            Step::Reopen | Step::Drop => self.forget_claims(),
        }
    }

    async fn settle<S: QueueStore>(
        &mut self,
        store: &S,
        claim: Claim,
        changed: &[(usize, bool)],
        reported: Option<usize>,
    ) {
        let change = |&(index, is_done)| {
            if is_done {
                done(index)
            } else {
                deferred(index)
            }
        };
        let mut settlement = changes(changed.iter().map(change).collect());
        let report = reported.map(|length| bounce(store, octets(length)));
        settlement.bounces.extend(report.clone());
        let steps = settlement.recipients.clone();
        let settled = store.settle(claim, settlement).await;
        if !self.holds(claim) {
            assert!(matches!(settled, Err(StoreError::ClaimLost(id)) if id == claim.id));
            return;
        }
        let expected = self.messages.get_mut(&claim.id).expect("a held claim");
        let before = expected.message.outstanding();
        expected.message.apply(steps);
        // Every settled recipient of the model was delivered.
        self.books.delivered += before - expected.message.outstanding();
        let has_left = expected.message.is_settled();
        let left = Some(&expected.message).filter(|_| !has_left);
        assert_eq!(settled.expect("settled").as_ref(), left);
        if has_left {
            self.messages.remove(&claim.id);
            self.held.remove(&claim.id);
        }
        if let Some(new) = report {
            let (head, body) = (new.head.len(), new.body.len());
            let size = (head + body) as u64;
            self.books.reports += new.envelope.recipients.len() as u64;
            let message = Message::new(new.id, at(2000), new.origin, new.envelope, size);
            let head = usize::MAX;
            self.messages.insert(
                message.id,
                Expected {
                    message,
                    head,
                    body,
                },
            );
        }
    }

    async fn open<S: QueueStore>(&self, store: &S, claim: Claim) {
        let opened = store.open(claim).await;
        if !self.holds(claim) {
            assert!(matches!(opened, Err(StoreError::ClaimLost(id)) if id == claim.id));
            return;
        }
        let expected = &self.messages[&claim.id];
        let (head, body) = bytes(opened.expect("opened"));
        assert!(body == octets(expected.body));
        // A bounce has another head.
        assert!(expected.head == usize::MAX || head == octets(expected.head));
    }

    async fn agrees<S: QueueStore>(&self, store: &S) {
        let expected: Vec<&Message> = self.messages.values().map(|e| &e.message).collect();
        let fresh = expected.iter().filter(|m| m.is_fresh()).count() as u64;
        assert_eq!(counts(store), (expected.len() as u64, fresh, 0));
        assert!(all(store).await.iter().collect::<Vec<_>>() == expected);
        assert_eq!(store.books(), self.books);
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_memory_is_a_map(steps in prop::collection::vec(step(), 1..60)) {
        runtime().block_on(async {
            let (harness, mut model) = (<InMemory<MemoryStore>>::new(), Model::default());
            let in_memory = |step: &&Step| !matches!(step, Step::Reopen | Step::Drop);
            for step in steps.iter().filter(in_memory) {
                model.apply(harness.store(), step).await;
                model.agrees(harness.store()).await;
                balanced(harness.store()).await;
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_is_a_map(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(async {
            let (mut harness, mut model) = (<OnDisk<SledStore>>::new(), Model::default());
            for step in &steps {
                model.apply(harness.store(), step).await;
                match step {
                    Step::Reopen => harness.reopen().await,
                    Step::Drop => {
                        harness.drop_store();
                        harness.open();
                    }
                    _ => {}
                }
                model.agrees(harness.store()).await;
            }
            balanced(harness.store()).await;
            harness.reopen().await;
            model.agrees(harness.store()).await;
            balanced(harness.store()).await;
        });
    }
}
