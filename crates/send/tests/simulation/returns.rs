//! Messages that the operator returns to their senders.

use std::time::Duration;

use relay_control::Verb;
use relay_message::{Origin, QueueId, QueueStore};
use relay_queue::MemoryStore;
use relay_send::Clock;
use relay_smtp::dsn::{DsnRequest, Notify};
use relay_testkit::FaultyStore;

use crate::world::{
    DAY, Outage, Timepiece, Watched, World, config, deferred, delivered, failed, pass, to,
    with_notify,
};

const QUICK: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_returned_message_is_reported_with_its_last_reply_and_not_tried_again() {
    let world = World::new(|tried| match tried.domain() {
        "home.test" | "ok.test" => tried.all(QUICK, &delivered()),
        _ => tried.all(QUICK, &deferred()),
    });
    let addresses = ["a@far.test", "b@other.test", "c@ok.test"].map(String::from);
    let id = world.submit("me@home.test", &addresses).await;
    pass(10).await;
    assert_eq!(world.apply(Verb::Bounce, vec![id]).await.changed, 1);
    world.until_empty(Duration::from_mins(1)).await;
    let tried = world.internet.tried();
    assert_eq!(tried.len(), 4);
    let report = &tried[3];
    assert_eq!(report.to, ["me@home.test"]);
    assert_eq!(report.text.matches("Final-Recipient").count(), 2);
    assert!(report.text.contains("450 4.2.0 come back later"));
    assert!(report.text.contains("returned by the operator"));
    assert!(!report.text.contains("for too long"));
}

#[tokio::test(start_paused = true)]
async fn a_return_waits_for_the_attempt_under_way_and_no_other_begins() {
    let world = World::new(|tried| match tried.to[0].as_str() {
        "me@home.test" => tried.all(QUICK, &delivered()),
        "ok@far.test" => tried.all(SLOW, &delivered()),
        _ => tried.all(SLOW, &deferred()),
    });
    let later = world.submit("me@home.test", &to("later@far.test")).await;
    let ok = world.submit("me@home.test", &to("ok@far.test")).await;
    pass(5).await;
    let applied = world.apply(Verb::Bounce, vec![later, ok]).await;
    assert_eq!((applied.changed, applied.pending), (2, 2));
    assert_eq!(
        world.apply(Verb::Bounce, vec![later]).await.changed,
        0,
        "its attempt is under way"
    );
    world.until_empty(Duration::from_mins(2)).await;
    assert_eq!(world.times("later@far.test"), [0]);
    let tried = world.internet.tried();
    let reports = tried.iter().filter(|t| t.sender.is_empty());
    assert_eq!(reports.count(), 1, "what was delivered is not returned");
}

#[tokio::test(start_paused = true)]
async fn a_return_of_a_failed_message_is_reported_once() {
    let world = World::new(|tried| match tried.domain() {
        "home.test" => tried.all(QUICK, &delivered()),
        _ => tried.all(SLOW, &failed()),
    });
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    pass(1).await;
    assert_eq!(world.apply(Verb::Bounce, vec![id]).await.changed, 1);
    world.until_empty(Duration::from_mins(2)).await;
    assert_eq!(world.times("me@home.test").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_held_message_can_be_returned() {
    let world = World::new(|tried| match tried.domain() {
        "home.test" => tried.all(QUICK, &delivered()),
        _ => tried.all(QUICK, &deferred()),
    });
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    pass(10).await;
    world.apply(Verb::Hold, vec![id]).await;
    assert_eq!(world.apply(Verb::Bounce, vec![id]).await.changed, 1);
    world.until_empty(Duration::from_mins(1)).await;
    assert_eq!(world.times("me@home.test").len(), 1);
}

/// Messages that wait for another attempt.
async fn deferred_mail<S: QueueStore>(world: &World<S>, messages: usize) -> Vec<QueueId> {
    let mut ids = Vec::new();
    for n in 0..messages {
        let to = to(&format!("u@d{n}.test"));
        ids.push(world.submit("me@home.test", &to).await);
    }
    pass(60).await;
    ids
}

async fn reports<S: QueueStore>(world: &World<S>) -> usize {
    let queued = world
        .store
        .scan(None, 10_000)
        .await
        .expect("the store works");
    queued
        .iter()
        .filter(|message| message.origin == Origin::Bounce)
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_return_is_recorded_before_it_is_answered() {
    let mut world = World::new(|tried| tried.all(QUICK, &deferred()));
    let ids = deferred_mail(&world, 700).await;
    let applied = world.apply(Verb::Bounce, ids.clone()).await;
    let reports_then = reports(&world).await;
    assert_eq!((applied.changed, applied.pending), (700, 0));
    assert_eq!(reports_then, 700, "recorded before the answer");
    world.restart(Duration::ZERO).await;
    for id in ids {
        assert_eq!(world.store.get(id).await.expect("the store works"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_gets_a_report_on_every_returned_message_however_many() {
    let world = World::new(|tried| match tried.domain() {
        "home.test" => tried.all(QUICK, &delivered()),
        _ => tried.all(QUICK, &deferred()),
    });
    let ids = deferred_mail(&world, 500).await;
    let applied = world.apply(Verb::Bounce, ids).await;
    assert_eq!((applied.changed, applied.untold), (500, 0));
    world.until_empty(DAY).await;
    assert_eq!(world.times("me@home.test").len(), 500);
    let status = world.sender.status().await.expect("the runner runs");
    assert_eq!(status.reports_suppressed, 0);
}

#[tokio::test(start_paused = true)]
async fn returns_without_a_report_are_counted_apart() {
    let world = World::new(|tried| tried.all(QUICK, &deferred()));
    let null = world.submit("", &to("a@far.test")).await;
    let never = vec![with_notify("b@far.test", Notify::Never)];
    let never = world
        .submit_with_dsn("me@home.test", never, DsnRequest::default())
        .await;
    let told = world.submit("me@home.test", &to("c@far.test")).await;
    pass(10).await;
    let applied = world.apply(Verb::Bounce, vec![null, never, told]).await;
    assert_eq!((applied.changed, applied.untold), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_return_that_cannot_be_recorded_is_reported_as_a_problem() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let store = Watched::new(MemoryStore::with_clock(move || ids.now()));
    let world = World::over(store, clock, |tried| tried.all(QUICK, &deferred()));
    let ids = deferred_mail(&world, 300).await;
    world.store.fail(Outage::Writing);
    let applied = world.apply(Verb::Bounce, ids.clone()).await;
    assert_eq!((applied.changed, applied.problems.len()), (0, 150));
    assert!(applied.problems[0].contains("outage"), "{applied:?}");
    world.store.fail(Outage::Nothing);
    assert_eq!(
        world.apply(Verb::Bounce, ids[150..].to_vec()).await.changed,
        150
    );
    pass(10).await;
    assert_eq!(reports(&world).await, 300);
}

#[tokio::test(start_paused = true)]
async fn a_return_ordered_while_a_failure_is_being_reported_is_not_forgotten() {
    for n in 0..16 {
        let clock = Timepiece::new();
        let store = FaultyStore::new(MemoryStore::with_clock({
            let ids = clock.clone();
            move || ids.now()
        }));
        store.fail_after(n);
        let world = World::over(store, clock, |tried| match tried.domain() {
            "gone.test" => tried.all(QUICK, &failed()),
            "home.test" => tried.all(QUICK, &delivered()),
            _ => tried.all(QUICK, &deferred()),
        });
        let addresses = ["a@gone.test", "b@later.test"].map(String::from);
        let id = world.submit("me@home.test", &addresses).await;
        pass(1).await;
        while world.apply(Verb::Bounce, vec![id]).await.problems.len() == 1 {}
        world.until_empty(DAY).await;
        let told = world
            .internet
            .tried()
            .into_iter()
            .filter(|t| t.sender.is_empty());
        let text: String = told.map(|t| t.text).collect();
        assert_eq!(text.matches("Final-Recipient").count(), 2, "fault {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn returned_reports_do_not_flood_the_postmaster() {
    let world = World::new(|tried| match tried.to[0].as_str() {
        "postmaster@home.test" => tried.all(QUICK, &delivered()),
        _ if tried.sender.is_empty() => tried.all(QUICK, &deferred()),
        _ => tried.all(QUICK, &failed()),
    });
    for n in 0..300 {
        let from = format!("victim{n}@home.test");
        world.submit(&from, &to("a@far.test")).await;
    }
    pass(60).await;
    let queued = world.store.scan(None, 1000).await.expect("the store works");
    let ids = queued.iter().map(|report| report.id).collect();
    let applied = world.apply(Verb::Bounce, ids).await;
    assert_eq!((applied.changed, applied.untold), (300, 200));
    world.until_empty(DAY).await;
    assert_eq!(world.times("postmaster@home.test").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_during_a_return_even_if_the_message_is_read_again() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let store = Watched::new(MemoryStore::with_clock(move || ids.now()));
    let store = store.lagging(Duration::from_secs(10));
    let world = World::over(store, clock, |tried| tried.all(QUICK, &deferred()));
    let ids = deferred_mail(&world, 50).await;
    pass(325).await;
    let (sender, returned) = (world.sender.clone(), ids.clone());
    let returning = tokio::spawn(async move { sender.apply(Verb::Bounce, returned).await });
    // The record has been read once. It is claimed and settled while it becomes due.
    pass(12).await;
    world.sender.reconfigure(config());
    let applied = returning.await.expect("no panic").expect("the runner runs");
    assert_eq!(applied.changed, 50);
    pass(60).await;
    let tried = world.internet.tried();
    let mine = tried.iter().filter(|t| ids.contains(&t.id));
    assert_eq!(mine.count(), 50, "one attempt each, before the return");
}
