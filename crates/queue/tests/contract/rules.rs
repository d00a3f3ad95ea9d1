//! Claiming, settling, scanning, counting and closing.

use std::collections::HashSet;
use std::slice::from_ref;

use bytes::Bytes;
use relay_message::{
    Books, HISTORY, Message, QueueId, QueueStore, RecipientState, Settlement, Spool, StoreError,
};
use relay_smtp::Verdict;
use relay_smtp::dsn::{DsnRequest, Ret};

use crate::stores::{
    Harness, all, at, balanced, bounce, bytes_of, changes, claim, commit, counts, deferred, done,
    enqueue, envelope, files_become, octets, tried,
};

async fn enqueue_to<S: QueueStore>(store: &S, recipients: usize) -> Message {
    let body = octets(6000);
    let committed = commit(store, recipients, b"head", &body).await;
    committed.expect("committed")
}

/// A settlement with one bounce.
fn with_bounce<S: QueueStore>(store: &S, mut settlement: Settlement) -> Settlement {
    settlement.bounces.push(bounce(store, b"sorry".to_vec()));
    settlement
}

fn is_lost<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::ClaimLost(_)))
}

fn is_closed<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Closed { .. }))
}

pub async fn a_settled_recipient_stays_settled<H: Harness>(mut harness: H) {
    let mut message = enqueue_to(harness.store(), 3).await;
    for step in [
        vec![done(1)],
        vec![deferred(0), deferred(2)],
        vec![deferred(0)],
    ] {
        let claim = claim(harness.store(), &message).await;
        let left = harness.store().settle(claim, changes(step.clone())).await;
        assert!(left.expect("settled").is_some());
        message.apply(step);
        assert_eq!(all(harness.store()).await, from_ref(&message));
        harness.reopen().await;
        assert_eq!(all(harness.store()).await, from_ref(&message));
    }
    let attempts: Vec<u32> = message.recipients.iter().map(|r| r.attempts).collect();
    assert_eq!(attempts, [2, 1, 1]);
    assert_eq!(bytes_of(harness.store(), &message).await.1, octets(6000));
}

pub async fn a_change_to_a_settled_recipient_changes_nothing<H: Harness>(harness: H) {
    let mut message = enqueue_to(harness.store(), 2).await;
    let held = claim(harness.store(), &message).await;
    for step in [vec![done(0)], vec![deferred(0)]] {
        let left = harness.store().settle(held, changes(step)).await;
        assert!(left.expect("settled").is_some());
    }
    message.apply(vec![done(0)]);
    assert_eq!(all(harness.store()).await, [message]);
}

pub async fn the_last_attempts_are_kept_and_all_are_counted<H: Harness>(mut harness: H) {
    let message = enqueue_to(harness.store(), 1).await;
    let held = claim(harness.store(), &message).await;
    let mut made = Vec::new();
    for seconds in 0..HISTORY as u64 + 3 {
        let mut change = deferred(0);
        if let Some((time, _)) = &mut change.attempt {
            *time = at(5000 + seconds);
        }
        made.extend(change.attempt.clone());
        let settled = harness.store().settle(held, changes(vec![change])).await;
        assert!(settled.expect("settled").is_some());
    }
    harness.reopen().await;
    let recipient = all(harness.store()).await.remove(0).recipients.remove(0);
    assert_eq!(recipient.attempts as usize, made.len());
    assert_eq!(recipient.last(), made.last());
    assert_eq!(recipient.history, made.split_off(3));
}

pub async fn what_the_sender_asked_of_reports_is_kept<H: Harness>(mut harness: H) {
    let mut asked = envelope(2);
    asked.dsn = DsnRequest {
        ret: Some(Ret::Full),
        envid: Some("QQ+20314".parse().expect("an envelope id")),
    };
    asked.recipients[1].notify = "SUCCESS,DELAY".parse().expect("a list");
    asked.recipients[1].orcpt = Some("rfc822;list@a.test".parse().expect("an address"));
    let spool = harness.store().begin().expect("a spool");
    let commit = harness
        .store()
        .commit(spool, asked.clone(), at(0), Bytes::new());
    let mut message = commit.await.expect("committed");
    assert_eq!(message.dsn, asked.dsn);
    for (kept, said) in message.recipients.iter().zip(&asked.recipients) {
        assert_eq!(&kept.to, said);
        assert!(!kept.delay_told);
    }
    let held = claim(harness.store(), &message).await;
    let settlement = Settlement {
        told_of_delay: vec![1, 7],
        ..Settlement::default()
    };
    let left = harness.store().settle(held, settlement).await;
    assert!(left.expect("settled").is_some());
    message.recipients[1].delay_told = true;
    harness.reopen().await;
    assert_eq!(all(harness.store()).await, [message]);
}

pub async fn the_last_settlement_removes_the_message_and_brings_the_bounce_in<H: Harness>(
    mut harness: H,
) {
    let message = enqueue_to(harness.store(), 2).await;
    let held = claim(harness.store(), &message).await;
    let failed = RecipientState::Failed { reported: true };
    let settlement = changes(vec![done(0), tried(1, failed, Verdict::Failed)]);
    let settlement = with_bounce(harness.store(), settlement);
    let bounce = settlement.bounces[0].id;
    let left = harness.store().settle(held, settlement).await;
    assert!(left.expect("settled").is_none());
    for _ in 0..2 {
        assert_eq!(harness.store().get(message.id).await.expect("read"), None);
        let ids: Vec<QueueId> = all(harness.store()).await.iter().map(|m| m.id).collect();
        assert_eq!(ids, [bounce]);
        harness.reopen().await;
    }
    assert!(is_lost(&harness.store().open(held).await));
    assert!(is_lost(
        &harness.store().settle(held, changes(vec![done(0)])).await
    ));
}

pub async fn an_attempt_on_one_recipient_may_bring_a_bounce_in<H: Harness>(mut harness: H) {
    let message = enqueue_to(harness.store(), 2).await;
    let held = claim(harness.store(), &message).await;
    let settlement = with_bounce(harness.store(), changes(vec![done(0)]));
    let left = harness.store().settle(held, settlement).await;
    assert!(left.expect("settled").is_some());
    assert_eq!(counts(harness.store()), (2, 1, 0));
    harness.reopen().await;
    assert_eq!(counts(harness.store()), (2, 1, 0));
}

pub async fn an_index_beyond_the_recipients_changes_nothing<H: Harness>(harness: H) {
    let message = enqueue_to(harness.store(), 1).await;
    let held = claim(harness.store(), &message).await;
    for settlement in [changes(vec![done(1), done(usize::MAX)]), changes(vec![])] {
        let left = harness.store().settle(held, settlement).await;
        assert!(left.expect("settled").is_some());
        assert_eq!(all(harness.store()).await, from_ref(&message));
    }
}

pub async fn a_lost_claim_leaves_everything_untouched<H: Harness>(mut harness: H) {
    let message = enqueue_to(harness.store(), 1).await;
    let lost = claim(harness.store(), &message).await;
    let held = claim(harness.store(), &message).await;
    let before = counts(harness.store());
    let settlement = with_bounce(harness.store(), changes(vec![done(0)]));
    assert!(is_lost(&harness.store().settle(lost, settlement).await));
    harness.store().release(lost);
    assert_eq!(counts(harness.store()), before);
    assert_eq!(all(harness.store()).await, from_ref(&message));
    assert!(harness.store().open(held).await.is_ok());
    harness.reopen().await;
    assert_eq!(all(harness.store()).await, [message]);
}

pub async fn a_later_claim_ends_the_former<H: Harness>(harness: H) {
    let message = enqueue_to(harness.store(), 1).await;
    let former = claim(harness.store(), &message).await;
    let later = claim(harness.store(), &message).await;
    assert_ne!(former.token, later.token);
    assert!(is_lost(&harness.store().open(former).await));
    assert!(is_lost(
        &harness.store().settle(former, changes(vec![done(0)])).await
    ));
    let left = harness.store().settle(later, changes(vec![done(0)])).await;
    assert!(left.expect("settled").is_none());
}

pub async fn a_claim_given_up_is_lost_and_the_message_stays<H: Harness>(harness: H) {
    let message = enqueue_to(harness.store(), 1).await;
    let given_up = claim(harness.store(), &message).await;
    harness.store().release(given_up);
    assert!(is_lost(&harness.store().open(given_up).await));
    assert!(is_lost(
        &harness
            .store()
            .settle(given_up, changes(vec![done(0)]))
            .await
    ));
    assert_eq!(all(harness.store()).await, from_ref(&message));
    claim(harness.store(), &message).await;
}

pub async fn a_held_message_says_so_until_it_is_released<H: Harness>(mut harness: H) {
    let mut message = enqueue_to(harness.store(), 2).await;
    for held in [true, true, false, false] {
        let changed = message.held != held;
        (message.held, message.released) = (held, !held);
        let answer = harness.store().set_held(message.id, held).await;
        let expected = (message.clone(), changed);
        let found = answer.expect("recorded").expect("it is there");
        assert_eq!((found.message, found.changed), expected);
        harness.reopen().await;
        assert_eq!(all(harness.store()).await, from_ref(&message));
    }
    let absent = harness.store().next_id();
    let answer = harness.store().set_held(absent, true).await;
    assert_eq!(answer.expect("asked"), None);
    assert_eq!(counts(harness.store()), (1, 1, 0));
}

pub async fn a_hold_and_an_attempt_under_way_leave_each_other_alone<H: Harness>(harness: H) {
    let mut message = enqueue_to(harness.store(), 2).await;
    let held = claim(harness.store(), &message).await;
    let answer = harness.store().set_held(message.id, true).await;
    message.held = true;
    let found = answer.expect("recorded").expect("it is there");
    assert_eq!((&found.message, found.changed), (&message, true));
    let left = harness.store().settle(held, changes(vec![done(0)])).await;
    assert!(left.expect("settled").is_some());
    message.apply(vec![done(0)]);
    assert_eq!(all(harness.store()).await, [message]);
}

pub async fn a_deleted_message_is_gone_and_every_claim_on_it_lost<H: Harness>(mut harness: H) {
    let mut message = enqueue_to(harness.store(), 3).await;
    let kept = enqueue_to(harness.store(), 1).await;
    let held = claim(harness.store(), &message).await;
    let settled = harness.store().settle(held, changes(vec![done(0)])).await;
    assert!(settled.expect("settled").is_some());
    message.apply(vec![done(0)]);
    let answer = harness.store().delete(message.id).await;
    assert_eq!(answer.expect("deleted"), Some(message.clone()));
    let settlement = with_bounce(harness.store(), changes(vec![done(1)]));
    assert!(is_lost(&harness.store().settle(held, settlement).await));
    assert!(is_lost(&harness.store().open(held).await));
    assert_eq!(
        harness.store().delete(message.id).await.expect("asked"),
        None
    );
    assert_eq!(harness.store().get(message.id).await.expect("asked"), None);
    files_become(&harness, &harness.files_of(&kept)).await;
    for _ in 0..2 {
        assert_eq!(all(harness.store()).await, from_ref(&kept));
        assert_eq!(counts(harness.store()), (1, 1, 0));
        assert_eq!(harness.store().books().discarded, 2);
        harness.reopen().await;
    }
}

pub async fn a_delete_beats_a_settlement_that_comes_with_it<H: Harness>(harness: H) {
    let store = harness.store();
    for _ in 0..20 {
        let message = enqueue_to(store, 1).await;
        let held = claim(store, &message).await;
        let settlement = changes(vec![done(0)]);
        let (deleted, settled) =
            tokio::join!(store.delete(message.id), store.settle(held, settlement));
        assert_eq!(deleted.expect("deleted"), Some(message));
        assert!(is_lost(&settled));
        balanced(store).await;
    }
    assert_eq!(store.books().delivered, 0);
    assert_eq!(store.books().discarded, 20);
}

pub async fn the_books_tell_what_became_of_each_recipient<H: Harness>(mut harness: H) {
    let mut messages = Vec::new();
    for recipients in [1, 2, 4] {
        messages.push(enqueue_to(harness.store(), recipients).await);
    }
    let failed = |reported| RecipientState::Failed { reported };
    let reported = |index| tried(index, failed(true), Verdict::Failed);
    let unreported = |index| tried(index, failed(false), Verdict::Failed);
    let steps = [
        (1, vec![deferred(0)], [7, 0, 0]),
        (1, vec![done(1), unreported(0)], [7, 1, 0]),
        (2, vec![reported(3), done(0), done(0)], [7, 2, 1]),
        (1, vec![reported(0), done(1)], [7, 2, 2]),
        (0, vec![done(0)], [7, 3, 2]),
    ];
    for (index, step, [accepted, delivered, bounced]) in steps {
        let id = messages[index].id;
        let claimed = harness.store().claim(id).await.expect("claimed");
        let (held, _) = claimed.expect("it is there");
        let settled = harness.store().settle(held, changes(step)).await;
        settled.expect("settled");
        let expected = Books {
            accepted,
            delivered,
            bounced,
            ..Books::default()
        };
        assert_eq!(harness.store().books(), expected);
        harness.reopen().await;
        assert_eq!(harness.store().books(), expected);
        balanced(harness.store()).await;
    }
    let claimed = harness
        .store()
        .claim(messages[2].id)
        .await
        .expect("claimed");
    let settlement = with_bounce(harness.store(), changes(vec![reported(1)]));
    let (held, _) = claimed.expect("it is there");
    let settled = harness.store().settle(held, settlement).await;
    assert!(settled.expect("settled").is_some());
    let books = harness.store().books();
    assert_eq!((books.reports, books.bounced, books.queued()), (1, 3, 2));
    balanced(harness.store()).await;
}

pub async fn what_is_not_there_cannot_be_claimed<H: Harness>(harness: H) {
    let message = enqueue(harness.store()).await;
    let absent = harness.store().next_id();
    assert_eq!(harness.store().claim(absent).await.expect("asked"), None);
    assert_eq!(harness.store().get(absent).await.expect("asked"), None);
    let held = claim(harness.store(), &message).await;
    let left = harness.store().settle(held, changes(vec![done(0)])).await;
    assert!(left.expect("settled").is_none());
    assert_eq!(
        harness.store().claim(message.id).await.expect("asked"),
        None
    );
}

pub async fn a_scan_gives_pages_in_order<H: Harness>(mut harness: H) {
    let mut messages = Vec::new();
    for _ in 0..50 {
        messages.push(enqueue(harness.store()).await);
    }
    for limit in [1, 7, 50, 51] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = harness.store().scan(after, limit).await.expect("scanned");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.id);
            found.extend(page);
        }
        assert!(found == messages, "pages of {limit}");
        harness.reopen().await;
    }
    assert_eq!(harness.store().scan(None, 0).await.expect("scanned"), []);
    let between = QueueId::from_bits(messages[9].id.to_bits() + 1);
    let rest = harness.store().scan(Some(between), 1).await;
    assert_eq!(rest.expect("scanned"), messages[10..11]);
}

pub async fn the_counts_are_right_after_each_operation<H: Harness>(mut harness: H) {
    let mut messages = Vec::new();
    for n in 1..=4 {
        messages.push(enqueue_to(harness.store(), 2).await);
        assert_eq!(counts(harness.store()), (n, n, 0));
    }
    harness.reopen().await;
    let steps = [
        (0, vec![deferred(0)], (4, 3, 0)),
        (0, vec![deferred(1)], (4, 3, 0)),
        (0, vec![done(0), done(1)], (3, 3, 0)),
        (1, vec![done(0), done(1)], (2, 2, 0)),
        (2, vec![], (2, 2, 0)),
    ];
    for (index, step, expected) in steps {
        let message: &mut Message = &mut messages[index];
        let held = claim(harness.store(), message).await;
        let settled = harness.store().settle(held, changes(step.clone())).await;
        message.apply(step);
        assert_eq!(settled.expect("settled").is_none(), message.is_settled());
        assert_eq!(counts(harness.store()), expected);
        harness.reopen().await;
        assert_eq!(counts(harness.store()), expected);
    }
}

pub async fn ids_never_repeat<H: Harness>(mut harness: H) {
    let (mut seen, mut last) = (HashSet::new(), None);
    for _ in 0..3 {
        for _ in 0..200 {
            let id = harness.store().next_id();
            assert!(seen.insert(id) && Some(id) > last, "{id}");
            last = Some(id);
        }
        let id = enqueue(harness.store()).await.id;
        assert!(seen.insert(id) && Some(id) > last, "{id}");
        last = Some(id);
        harness.reopen().await;
    }
}

pub async fn a_closed_store_answers_closed<H: Harness>(harness: H) {
    let store = harness.store();
    let message = enqueue(store).await;
    let held = claim(store, &message).await;
    let mut spool = store.begin().expect("a spool");
    spool.write(&octets(10_000)).await.expect("written");
    store.close().await.expect("closed");

    assert!(is_closed(&store.begin()));
    assert!(is_closed(&store.has_room(0)));
    assert!(is_closed(
        &store.commit(spool, envelope(1), at(0), Bytes::new()).await
    ));
    assert!(is_closed(&store.scan(None, 10).await));
    assert!(is_closed(&store.get(message.id).await));
    assert!(is_closed(&store.claim(message.id).await));
    assert!(is_closed(&store.open(held).await));
    assert!(is_closed(&store.settle(held, changes(vec![done(0)])).await));
    assert!(is_closed(&store.set_held(message.id, true).await));
    assert!(is_closed(&store.delete(message.id).await));
    assert!(is_closed(&store.audit().await));
    assert!(is_closed(&store.close().await));
    assert_eq!(store.books().accepted, 1);
    store.release(held);
}
