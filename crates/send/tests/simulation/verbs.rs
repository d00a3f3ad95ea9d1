//! The operator's verbs on single messages and on destinations.

use std::time::Duration;

use relay_control::Verb;
use relay_message::{DestinationKey, QueueStore};
use relay_queue::MemoryStore;
use relay_send::{Clock, HoldRule};

use crate::world::{
    DAY, Outage, Timepiece, Watched, World, config, deferred, delivered, failed, pass, to,
    unreachable,
};

const QUICK: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_retry_of_one_message_tries_that_one_alone() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &deferred()),
        _ => tried.all(QUICK, &delivered()),
    });
    let mine = world.submit("me@home.test", &to("a@far.test")).await;
    world.submit("me@home.test", &to("b@far.test")).await;
    pass(10).await;
    let absent = relay_message::QueueId::from_bits(7);
    let applied = world.apply(Verb::Retry, vec![mine, absent]).await;
    assert_eq!((applied.changed, applied.problems.len()), (1, 0));
    pass(1).await;
    assert_eq!(world.times("a@far.test"), [0, 10]);
    assert_eq!(world.times("b@far.test"), [0]);
    world.until_empty(DAY).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_overrides_the_back_off_of_its_destination() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &unreachable()),
        _ => tried.all(QUICK, &delivered()),
    });
    let id = world.submit("me@home.test", &to("a@down.test")).await;
    pass(10).await;
    assert_eq!(world.apply(Verb::Retry, vec![id]).await.changed, 1);
    pass(1).await;
    assert_eq!(world.times("a@down.test"), [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_destination_gets_no_mail_until_it_is_resumed() {
    let world = World::new(|tried| tried.all(QUICK, &delivered()));
    let far = DestinationKey("far.test".into());
    assert!(world.sender.suspend(far.clone()).await);
    assert!(!world.sender.suspend(far.clone()).await);
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    world.submit("me@home.test", &to("a@other.test")).await;
    pass(6 * 86400).await;
    assert!(world.times("a@far.test").is_empty());
    let retried = world.apply(Verb::Retry, vec![id]).await;
    assert_eq!(retried.changed, 0);
    pass(10).await;
    assert_eq!(world.store.count(), 1, "it does not expire either");
    let status = world.sender.status().await.expect("the runner runs");
    assert_eq!(status.suspended, std::slice::from_ref(&far));
    assert!(status.destinations[0].is_suspended && status.destinations[0].next_attempt.is_none());
    assert!(world.sender.resume(far.clone()).await);
    assert!(!world.sender.resume(far).await);
    pass(1).await;
    assert_eq!(world.times("a@far.test").len(), 1);
    world.assert_nothing_is_kept().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_message_waits_over_a_restart_and_leaves_at_once_when_released() {
    let mut world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &deferred()),
        _ => tried.all(QUICK, &delivered()),
    });
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    pass(10).await;
    assert_eq!(world.apply(Verb::Hold, vec![id]).await.changed, 1);
    assert_eq!(
        world.apply(Verb::Hold, vec![id]).await.changed,
        0,
        "it is held already"
    );
    assert_eq!(world.apply(Verb::Retry, vec![id]).await.changed, 0);
    world.assert_nothing_is_kept().await;
    pass(86400).await;
    world.restart(Duration::ZERO).await;
    pass(6 * 86400).await;
    assert_eq!(world.times("a@far.test"), [0]);
    let began = world.clock.elapsed();
    assert_eq!(world.apply(Verb::Release, vec![id]).await.changed, 1);
    assert_eq!(world.apply(Verb::Release, vec![id]).await.changed, 0);
    pass(1).await;
    assert_eq!(world.times("a@far.test"), [0, began.as_secs()]);
    world.assert_nothing_is_kept().await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_during_an_attempt_lets_it_end_and_a_release_before_its_end_is_not_lost() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(SLOW, &deferred()),
        _ => tried.all(QUICK, &delivered()),
    });
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    let other = world.submit("me@home.test", &to("b@far.test")).await;
    pass(10).await;
    assert_eq!(world.apply(Verb::Hold, vec![id, other]).await.changed, 2);
    assert_eq!(world.apply(Verb::Release, vec![id]).await.changed, 1);
    pass(86400).await;
    assert_eq!(world.times("b@far.test"), [0], "it stays held");
    let times = world.times("a@far.test");
    assert!(times.len() == 2 && times[1] < 500, "{times:?}");
    world.assert_nothing_is_kept().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_message_is_gone_whether_it_waits_or_is_under_way() {
    let world = World::new(|tried| match tried.domain() {
        "slow.test" => tried.all(SLOW, &deferred()),
        _ => tried.all(QUICK, &deferred()),
    });
    let waiting = world.submit("me@home.test", &to("a@far.test")).await;
    let running = world.submit("me@home.test", &to("a@slow.test")).await;
    pass(10).await;
    let ids = vec![waiting, running];
    assert_eq!(world.apply(Verb::Delete, ids.clone()).await.changed, 2);
    assert_eq!(world.apply(Verb::Delete, ids).await.changed, 0);
    assert_eq!(world.store.count(), 0);
    pass(86400).await;
    assert_eq!(
        world.internet.tried().len(),
        2,
        "nothing more, and no report"
    );
    world.assert_nothing_is_kept().await;
}

fn rule(domain: Option<&str>, sender: Option<&str>, since: Duration, world: &World) -> HoldRule {
    HoldRule {
        domain: domain.map(String::from),
        sender: sender.map(String::from),
        since: world.clock.now() - world.clock.elapsed() + since,
    }
}

#[tokio::test(start_paused = true)]
async fn only_incoming_mail_that_matches_a_rule_is_held() {
    let mut world = World::new(|tried| tried.all(QUICK, &delivered()));
    pass(100).await;
    let now = world.clock.elapsed();
    let rules = vec![
        rule(Some("FAR.test"), None, now, &world),
        rule(Some("other.test"), Some("it@home.test"), now, &world),
    ];
    world.sender.hold_incoming(rules.clone());
    for (from, address) in [
        ("me@home.test", "a@far.test"),
        ("me@home.test", "b@other.test"),
        ("It@home.test", "c@other.test"),
        ("it@home.test", "d@third.test"),
    ] {
        world.submit(from, &to(address)).await;
    }
    // A crash may come between the commit and the hold.
    world.commit("me@home.test", &to("e@far.test")).await;
    world.config.standing_rules.hold_incoming = rules;
    world.restart(Duration::from_secs(10)).await;
    pass(86400).await;
    let tried = world.internet.tried();
    let to: Vec<&str> = tried.iter().map(|t| t.to[0].as_str()).collect();
    assert_eq!(to, ["b@other.test", "d@third.test"]);
    let records = world.store.scan(None, 10).await.expect("the store works");
    assert!(records.len() == 3 && records.iter().all(|m| m.held));
    world.sender.hold_incoming(Vec::new());
    world
        .apply(Verb::Release, records.iter().map(|m| m.id).collect())
        .await;
    world.until_empty(Duration::from_mins(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_also_holds_reports_before_and_after_a_reload() {
    let world = World::new(|tried| tried.all(QUICK, &failed()));
    world
        .sender
        .hold_incoming(vec![rule(Some("home.test"), None, Duration::ZERO, &world)]);
    world.submit("me@home.test", &to("a@far.test")).await;
    pass(10).await;
    let records = world.store.scan(None, 10).await.expect("the store works");
    assert!(records.len() == 1 && records[0].held, "{records:?}");
    world.sender.reconfigure(config());
    pass(86400).await;
    assert_eq!(world.internet.tried().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_released_under_a_standing_rule_stays_released() {
    let mut world = World::new(|tried| tried.all(QUICK, &delivered()));
    let rules = vec![rule(Some("far.test"), None, Duration::ZERO, &world)];
    world.sender.hold_incoming(rules.clone());
    let id = world.submit("me@home.test", &to("a@far.test")).await;
    pass(10).await;
    let far = DestinationKey("far.test".into());
    world.sender.suspend(far.clone()).await;
    let released = world.apply(Verb::Release, vec![id]).await;
    assert_eq!(released.changed, 1);
    world.config.standing_rules.hold_incoming = rules;
    world.sender.reconfigure(config());
    pass(10).await;
    world.restart(Duration::from_secs(10)).await;
    pass(10).await;
    let message = world.store.get(id).await.expect("the store works");
    assert_eq!(message.map(|message| message.held), None, "it has left");
}

#[tokio::test(start_paused = true)]
async fn a_rule_holds_no_mail_that_arrived_before_it() {
    let mut world = World::new(|tried| tried.all(QUICK, &delivered()));
    world.sender.shutdown(Duration::ZERO).await;
    world.commit("me@home.test", &to("a@far.test")).await;
    pass(100).await;
    world.config.standing_rules.hold_incoming =
        vec![rule(None, None, Duration::from_secs(50), &world)];
    world.restart(Duration::ZERO).await;
    world.until_empty(Duration::from_mins(1)).await;
}

#[tokio::test(start_paused = true)]
async fn standing_rules_at_the_start_apply_before_the_first_attempt() {
    let mut world = World::new(|tried| tried.all(QUICK, &delivered()));
    world.sender.shutdown(Duration::ZERO).await;
    world.commit("me@home.test", &to("a@far.test")).await;
    world.config.standing_rules.suspended = vec![DestinationKey("far.test".into())];
    world.restart(Duration::ZERO).await;
    pass(1000).await;
    world.sender.reconfigure(config());
    pass(1000).await;
    assert!(
        world.internet.tried().is_empty(),
        "a reload changes no standing rules"
    );
    world.sender.resume(DestinationKey("far.test".into())).await;
    world.until_empty(Duration::from_mins(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_verb_on_thousands_of_messages_changes_all_and_stops_if_the_store_fails() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let store = Watched::new(MemoryStore::with_clock(move || ids.now()));
    let world = World::over(store, clock, |tried| tried.all(QUICK, &deferred()));
    let mut ids = Vec::new();
    for n in 0..2_300 {
        let id = world
            .submit("me@home.test", &to(&format!("u@d{n}.test")))
            .await;
        ids.push(id);
    }
    pass(60).await;
    world.store.fail(Outage::Writing);
    let applied = world.apply(Verb::Hold, ids.clone()).await;
    assert_eq!((applied.changed, applied.problems.len()), (0, 250));
    world.store.fail(Outage::Nothing);
    assert_eq!(world.apply(Verb::Hold, ids.clone()).await.changed, 2_300);
    world.assert_nothing_is_kept().await;
    assert_eq!(world.apply(Verb::Delete, ids).await.changed, 2_300);
    assert_eq!(world.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_verb_asks_a_slow_store_for_many_messages_at_a_time() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let lag = Duration::from_millis(100);
    let store = Watched::new(MemoryStore::with_clock(move || ids.now())).lagging(lag);
    let world = World::over(store, clock, |tried| tried.all(QUICK, &deferred()));
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(world.submit("me@home.test", &to("u@far.test")).await);
    }
    let since = tokio::time::Instant::now();
    assert_eq!(world.apply(Verb::Hold, ids).await.changed, 1000);
    assert!(since.elapsed() < 10 * lag, "{:?}", since.elapsed());
}
