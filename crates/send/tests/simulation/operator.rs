//! The operator: retry, hold, reconfigure, shut down, set the clock.

use std::time::Duration;

use relay_control::Verb;
use relay_message::QueueStore;

use crate::world::{
    DAY, Outage, Timepiece, Watched, World, config, deferred, delivered, pass, to, unreachable,
};

const QUICK: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn a_retry_of_many_messages_overrides_a_back_off_and_tries_none_twice() {
    let world = World::new(|tried| tried.all(QUICK, &unreachable()));
    let mut ids = Vec::new();
    for n in 0..50 {
        let to = to(&format!("u{n}@far.test"));
        ids.push(world.submit("me@home.test", &to).await);
    }
    pass(30).await;
    let before = world.internet.tried().len();
    let retried = world.apply(Verb::Retry, ids).await;
    assert_eq!(retried.changed, 50);
    pass(30).await;
    let tried = world.internet.tried().len() - before;
    assert!(
        (1..=5).contains(&tried),
        "{tried}: one set, then back-off again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_survives_a_reload() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &deferred()),
        _ => tried.all(Duration::from_secs(10), &delivered()),
    });
    let mut ids = Vec::new();
    for n in 0..50 {
        let to = to(&format!("u{n}@far.test"));
        ids.push(world.submit("me@home.test", &to).await);
    }
    world.submit("me@home.test", &to("other@far.test")).await;
    pass(30).await;
    assert_eq!(world.apply(Verb::Retry, ids).await.changed, 50);
    pass(1).await;
    world.internet.route(|_| "smart.test");
    world.sender.reconfigure(config());
    pass(120).await;
    assert_eq!(world.internet.delivered().len(), 50);
    world.until_empty(DAY).await;
    assert!(world.internet.delivered().values().all(|&n| n == 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_at_a_new_route_once_the_attempt_at_the_old_one_has_delivered() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &deferred()),
        _ => tried.all(Duration::from_secs(10), &delivered()),
    });
    let id = world.submit("me@home.test", &to("u@far.test")).await;
    pass(30).await;
    assert_eq!(world.apply(Verb::Retry, vec![id]).await.changed, 1);
    pass(1).await;
    world.internet.route(|_| "smart.test");
    world.sender.reconfigure(config());
    pass(1).await;
    let status = world.sender.status().await.expect("the runner runs");
    assert_eq!((status.in_flight, status.waiting), (1, 1), "{status:?}");
    world.until_empty(Duration::from_mins(1)).await;
    assert_eq!(world.internet.delivered().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_held_message_is_not_tried_and_its_failures_are_reported_on_release() {
    use relay_message::{RecipientChange, RecipientState, Settlement};
    let world = World::new(|tried| tried.all(QUICK, &delivered()));
    let addresses = ["a@far.test", "b@far.test"].map(String::from);
    let message = world.commit("me@home.test", &addresses).await;
    let claimed = world.store.claim(message.id).await.unwrap();
    let (claim, _) = claimed.expect("the message is queued");
    let change = RecipientChange {
        index: 0,
        state: RecipientState::Failed { reported: false },
        attempt: None,
    };
    let settlement = Settlement {
        recipients: vec![change],
        ..Settlement::default()
    };
    world.store.settle(claim, settlement).await.unwrap();
    let held = world.store.set_held(message.id, true).await.unwrap();
    assert!(held.is_some());
    // The record as it was when the message was accepted, before it was held.
    world.sender.accepted(&message);
    pass(86400).await;
    assert!(world.internet.tried().is_empty());
    world.assert_nothing_is_kept().await;
    assert_eq!(
        world.apply(Verb::Release, vec![message.id]).await.changed,
        1
    );
    world.until_empty(DAY).await;
    assert_eq!(world.times("b@far.test").len(), 1);
    assert_eq!(world.times("me@home.test").len(), 1, "the report");
}

#[tokio::test(start_paused = true)]
async fn routes_that_change_during_attempts_lose_no_message_and_try_none_twice() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0..100 => tried.all(Duration::from_secs(30), &deferred()),
        _ => tried.all(Duration::from_secs(30), &delivered()),
    });
    for n in 0..200 {
        let addresses = [format!("a{n}@far.test"), format!("b{n}@other.test")];
        world.submit("me@home.test", &addresses).await;
    }
    let routes: [fn(&str) -> &str; 4] = [|_| "smart.test", |d| d, |_| "other.test", |d| &d[1..]];
    for route in routes.iter().cycle().take(40) {
        pass(7).await;
        world.internet.route(*route);
        // A job may begin under the new routes before the runner knows them.
        pass(1).await;
        world.sender.reconfigure(config());
    }
    world.until_empty(DAY).await;
    let delivered = world.internet.delivered();
    assert_eq!(delivered.len(), 400);
    assert!(delivered.values().all(|&n| n == 1), "{delivered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_smaller_concurrency_applies_from_the_reload_on() {
    let world = World::new(|tried| tried.all(Duration::from_secs(10), &delivered()));
    for _ in 0..5_000 {
        world.submit("me@home.test", &to("you@far.test")).await;
    }
    pass(600).await;
    let mut smaller = config();
    smaller.concurrency.per_destination = 3;
    world.sender.reconfigure(smaller);
    pass(20).await;
    let before = world.internet.tried().len();
    pass(100).await;
    let begun = world.internet.tried().len() - before;
    assert!((27..=33).contains(&begun), "{begun}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_no_message_and_repeats_no_delivery() {
    let mut world = World::new(|tried| match tried.at.as_secs() {
        0..30 => tried.all(Duration::from_secs(3), &deferred()),
        _ => tried.all(Duration::from_secs(3), &delivered()),
    });
    for n in 0..300 {
        world
            .submit("me@home.test", &to(&format!("u{n}@far{}.test", n % 7)))
            .await;
    }
    for _ in 0..20 {
        pass(40).await;
        world.restart(Duration::from_secs(10)).await;
    }
    world.until_empty(DAY).await;
    let delivered = world.internet.delivered();
    assert_eq!(delivered.len(), 300);
    assert!(delivered.values().all(|&n| n == 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_aborted_by_a_shutdown_is_made_again_after_the_start() {
    let mut world = World::new(|tried| match tried.at.as_secs() {
        0..60 => tried.all(DAY, &delivered()),
        _ => tried.all(QUICK, &delivered()),
    });
    for n in 0..20 {
        world
            .submit("me@home.test", &to(&format!("u{n}@far{n}.test")))
            .await;
    }
    pass(60).await;
    let began = world.clock.elapsed();
    world.restart(Duration::from_secs(15)).await;
    assert_eq!(
        world.clock.elapsed().saturating_sub(began).as_secs(),
        15,
        "the shutdown keeps its bound"
    );
    world.until_empty(DAY).await;
    assert_eq!(world.internet.delivered().len(), 20);
    assert_eq!(world.internet.tried().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_attempts_under_way_and_begins_none() {
    let world = World::new(|tried| tried.all(Duration::from_secs(4), &delivered()));
    for _ in 0..100 {
        world.submit("me@home.test", &to("you@far.test")).await;
    }
    pass(1).await;
    world.sender.shutdown(Duration::from_mins(1)).await;
    assert_eq!(world.clock.elapsed().as_secs(), 4);
    assert_eq!(
        (world.internet.delivered().len(), world.store.count()),
        (5, 95)
    );
    assert!(world.sender.status().await.is_none());
    let queued = world.store.scan(None, 1).await.expect("the store works");
    assert!(
        world
            .sender
            .apply(Verb::Delete, vec![queued[0].id])
            .await
            .is_none()
    );
    assert_eq!(world.store.count(), 95);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_its_bound_while_the_store_fails() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let memory = relay_queue::MemoryStore::with_clock(move || relay_send::Clock::now(&ids));
    let world = World::over(Watched::new(memory), clock, |tried| {
        tried.all(QUICK, &delivered())
    });
    world.submit("me@home.test", &to("you@far.test")).await;
    world.store.fail(Outage::Writing);
    pass(10).await;
    world.sender.shutdown(Duration::from_secs(30)).await;
    assert_eq!(world.clock.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_delays_mail_by_no_more_than_the_longest_pause() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0..600 => match tried.domain() {
            "down.test" => tried.all(QUICK, &unreachable()),
            _ => tried.all(QUICK, &deferred()),
        },
        _ => tried.all(QUICK, &delivered()),
    });
    world.clock.set_by(3600 * 24 * 365);
    for domain in ["far.test", "down.test"] {
        world
            .submit("me@home.test", &to(&format!("u@{domain}")))
            .await;
    }
    pass(550).await;
    world.clock.set_by(-3600 * 24 * 365);
    pass(120).await;
    world.submit("me@home.test", &to("new@far.test")).await;
    world.until_empty(Duration::from_hours(5)).await;
    assert_eq!(world.internet.delivered().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn mail_that_a_clock_set_forward_makes_due_leaves_within_a_minute() {
    let world = World::new(|tried| match tried.at.as_secs() {
        0 => tried.all(QUICK, &deferred()),
        _ => tried.all(QUICK, &delivered()),
    });
    world.submit("me@home.test", &to("u@far.test")).await;
    pass(10).await;
    world.clock.set_by(3600);
    pass(61).await;
    assert_eq!(world.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_read_before_an_outcome_was_recorded_is_read_again() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let memory = relay_queue::MemoryStore::with_clock(move || relay_send::Clock::now(&ids));
    let store = Watched::new(memory).lagging(Duration::from_millis(1500));
    let world = World::over(store, clock, |tried| match tried.domain() {
        "slow.test" => tried.all(Duration::from_secs(10), &delivered()),
        _ => tried.all(QUICK, &deferred()),
    });
    let addresses = ["a@slow.test", "b@other.test"].map(String::from);
    let id = world.submit("me@home.test", &addresses).await;
    pass(7).await;
    // From here on both have the same destination, and one is under way.
    world.internet.route(|_| "other.test");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(world.apply(Verb::Retry, vec![id]).await.changed, 1);
    pass(60).await;
    assert_eq!(
        world.internet.delivered().get(&(id, "a@slow.test".into())),
        Some(&1)
    );
    assert_eq!(world.times("b@other.test").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_is_not_lost_while_a_task_still_reads_the_message_as_held() {
    let clock = Timepiece::new();
    let ids = clock.clone();
    let memory = relay_queue::MemoryStore::with_clock(move || relay_send::Clock::now(&ids));
    let store = Watched::new(memory).lagging(Duration::from_millis(1500));
    let world = World::over(store, clock, |tried| tried.all(QUICK, &delivered()));
    let message = world.commit("me@home.test", &to("a@far.test")).await;
    world.store.set_held(message.id, true).await.unwrap();
    let release = world.sender.apply(Verb::Release, vec![message.id]);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.sender.accepted(&message);
    };
    let (released, ()) = tokio::join!(release, meanwhile);
    assert_eq!(released.expect("the runner runs").changed, 1);
    world.until_empty(Duration::from_mins(1)).await;
}
