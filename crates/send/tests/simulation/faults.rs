//! A store that fails: no message is lost, no delivery is repeated, and no task loops without a
//! pause.

use std::time::Duration;

use relay_control::Verb;
use relay_message::QueueStore;
use relay_queue::MemoryStore;
use relay_send::Clock;
use relay_testkit::FaultyStore;

use crate::world::{
    DAY, Outage, Timepiece, Tried, Watched, World, deferred, delivered, domain, failed, pass, to,
};

const QUICK: Duration = Duration::from_millis(50);

fn memory(clock: &Timepiece) -> MemoryStore {
    let ids = clock.clone();
    MemoryStore::with_clock(move || ids.now())
}

/// Answers one of each kind: delivered, deferred once, failed, and the report of the failure.
fn mixed(tried: &Tried) -> (Duration, Vec<relay_smtp::Outcome>) {
    let outcome = |to: &String| match domain(to) {
        "later.test" if tried.at < Duration::from_mins(1) => deferred(),
        "gone.test" => failed(),
        _ => delivered(),
    };
    (QUICK, tried.to.iter().map(outcome).collect())
}

#[tokio::test(start_paused = true)]
async fn no_failing_operation_loses_a_message_or_delivers_it_twice() {
    let addresses = ["a@ok.test", "b@later.test", "c@gone.test"].map(String::from);
    for n in 0..40 {
        let clock = Timepiece::new();
        let store = FaultyStore::new(memory(&clock));
        store.fail_after(n);
        let world = World::over(store, clock, mixed);
        let id = world.submit("me@home.test", &addresses).await;
        world.until_empty(DAY).await;
        let delivered = world.internet.delivered();
        for address in ["a@ok.test", "b@later.test"] {
            assert_eq!(
                delivered.get(&(id, address.into())),
                Some(&1),
                "{address}, fault {n}"
            );
        }
        let reports = delivered.iter().filter(|((_, to), _)| to == "me@home.test");
        assert_eq!(reports.map(|(_, n)| n).sum::<u32>(), 1, "fault {n}");
        let is_beyond_the_last = world.store.is_armed();
        assert!(
            is_beyond_the_last || n < 39,
            "40 operations are fewer than there are"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_tried_every_few_seconds_and_not_for_every_message() {
    let clock = Timepiece::new();
    let world = World::over(Watched::new(memory(&clock)), clock, mixed);
    world.store.fail(Outage::Everything);
    for n in 0..5_000 {
        world
            .submit("me@home.test", &to(&format!("u{n}@ok.test")))
            .await;
    }
    pass(600).await;
    assert!(
        world.store.calls() < 5 + 120 + 2 * 300,
        "{}",
        world.store.calls()
    );
    world.store.fail(Outage::Nothing);
    world.until_empty(DAY).await;
    assert_eq!(world.internet.delivered().len(), 5_000);
    assert!(world.internet.delivered().values().all(|&n| n == 1));
}

#[tokio::test(start_paused = true)]
async fn no_delivery_begins_while_outcomes_cannot_be_recorded() {
    let clock = Timepiece::new();
    let world = World::over(Watched::new(memory(&clock)), clock, mixed);
    world.store.fail(Outage::Writing);
    for n in 0..5_000 {
        world
            .submit("me@home.test", &to(&format!("u{n}@ok{}.test", n % 500)))
            .await;
    }
    pass(3600).await;
    let before = world.internet.tried().len();
    assert!(before <= 120, "{before} delivered without a record");
    let status = world.sender.status().await.expect("the runner runs");
    let trouble = status.store_trouble.expect("the status has the reason");
    assert!(trouble.reason.contains("outage"), "{trouble:?}");
    let since = world.clock.now().duration_since(trouble.since);
    assert_eq!(
        since.map_or(0, |age| age.as_secs()),
        3599,
        "since the failure began"
    );
    world.store.fail(Outage::Nothing);
    world.until_empty(DAY).await;
    let status = world.sender.status().await.expect("the runner runs");
    assert_eq!(status.store_trouble, None);
    assert!(world.internet.delivered().values().all(|&n| n == 1));
    assert_eq!(world.internet.delivered().len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn reports_are_short_and_mail_leaves_while_the_disk_is_nearly_full() {
    let clock = Timepiece::new();
    let world = World::over(Watched::new(memory(&clock)), clock, mixed);
    world.store.fail(Outage::Room);
    world
        .submit_large("me@home.test", "a@gone.test", 20_000)
        .await;
    world.submit("me@home.test", &to("b@ok.test")).await;
    world.until_empty(Duration::from_mins(1)).await;
    let tried = world.internet.tried();
    let report = tried.iter().find(|t| t.sender.is_empty()).expect("one");
    assert!(report.text.contains("Subject: hello"));
    assert!(report.text.len() < 4_000, "{}", report.text.len());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_read_delays_only_its_own_message() {
    let clock = Timepiece::new();
    let world = World::over(Watched::new(memory(&clock)), clock, mixed);
    world.store.fail(Outage::Opening);
    world.submit("me@home.test", &to("stuck@ok.test")).await;
    pass(1).await;
    world.store.fail(Outage::Nothing);
    let began = world.clock.elapsed();
    world.submit("me@home.test", &to("other@ok.test")).await;
    pass(1).await;
    assert_eq!(world.times("other@ok.test"), [began.as_secs()]);
    assert!(world.times("stuck@ok.test").is_empty());
    world.until_empty(DAY).await;
    assert_eq!(world.internet.delivered().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_start_on_a_failing_store_reads_the_queue_when_the_store_recovers() {
    let clock = Timepiece::new();
    let mut world = World::over(Watched::new(memory(&clock)), clock, mixed);
    world.sender.shutdown(Duration::ZERO).await;
    for n in 0..2_500 {
        world
            .commit("me@home.test", &to(&format!("u{n}@ok.test")))
            .await;
    }
    world.store.fail(Outage::Everything);
    world.restart(Duration::ZERO).await;
    pass(100).await;
    assert!(
        !world
            .sender
            .status()
            .await
            .expect("the runner runs")
            .is_complete
    );
    assert!(world.store.calls() < 60, "{}", world.store.calls());
    world.store.fail(Outage::Nothing);
    world.until_empty(DAY).await;
    assert_eq!(world.internet.delivered().len(), 2_500);
    assert!(
        world
            .sender
            .status()
            .await
            .expect("the runner runs")
            .is_complete
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_has_not_been_read_yet_can_be_retried() {
    let clock = Timepiece::new();
    let mut world = World::over(Watched::new(memory(&clock)), clock, mixed);
    let id = world.submit("me@home.test", &to("a@later.test")).await;
    pass(10).await;
    world.store.fail(Outage::Scanning);
    world.restart(Duration::ZERO).await;
    pass(60).await;
    let retried = world.apply(Verb::Retry, vec![id]).await;
    assert_eq!(retried.changed, 1);
    pass(1).await;
    assert_eq!(world.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_deleted_elsewhere_is_dropped_whether_it_waits_or_is_under_way() {
    let world = World::new(|tried| tried.all(Duration::from_secs(10), &deferred()));
    let id = world.submit("me@home.test", &to("u@far.test")).await;
    pass(5).await;
    // To delete a message is to claim it and settle it.
    let (claim, _) = world
        .store
        .claim(id)
        .await
        .unwrap()
        .expect("the message is queued");
    let change = relay_message::RecipientChange {
        index: 0,
        state: relay_message::RecipientState::Done,
        attempt: None,
    };
    let settlement = relay_message::Settlement {
        recipients: vec![change],
        ..relay_message::Settlement::default()
    };
    assert!(
        world
            .store
            .settle(claim, settlement)
            .await
            .unwrap()
            .is_none()
    );
    pass(10).await;
    world.assert_nothing_is_kept().await;
    let tried: Vec<_> = world.internet.tried().iter().map(|t| t.id).collect();
    assert_eq!(tried, [id]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_released_however_its_attempt_ends() {
    let clock = Timepiece::new();
    let world = World::over(Watched::new(memory(&clock)), clock, |tried| {
        assert!(tried.domain() != "panic.test");
        mixed(tried)
    });
    for domain in ["ok.test", "later.test", "gone.test", "panic.test"] {
        world
            .submit("me@home.test", &to(&format!("u@{domain}")))
            .await;
    }
    pass(30).await;
    assert_eq!(world.store.count(), 2, "two wait for their next attempt");
    assert_eq!(*world.store.claims(), []);
}
