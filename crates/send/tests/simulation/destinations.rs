//! How destinations affect each other and their own mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{DAY, World, delivered, pass, slowed, to, unreachable};

const QUICK: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_down_gets_one_probe_per_pause_and_all_mail_after_the_first_answer() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let world = World::new(move |tried| {
        let outcome = if up.load(Ordering::SeqCst) {
            delivered()
        } else {
            unreachable()
        };
        tried.all(QUICK, &outcome)
    });
    for n in 0..10_000 {
        world
            .submit("me@home.test", &to(&format!("u{n}@down.test")))
            .await;
    }
    pass(2 * 86400).await;
    let tried = world.internet.tried();
    let after_first: Vec<u64> = tried
        .iter()
        .map(|t| t.at.as_secs())
        .filter(|&at| at > 10)
        .collect();
    let gaps: Vec<u64> = after_first.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(tried.len() - after_first.len(), 5, "only the first set");
    assert_eq!(&gaps[..6], [800, 1600, 3200, 6400, 12800, 14400]);
    assert!(gaps[6..].iter().all(|&gap| gap == 14400), "{gaps:?}");

    is_up.store(true, Ordering::SeqCst);
    world
        .until_empty(Duration::from_hours(4) + Duration::from_mins(5))
        .await;
    let tried = world.internet.tried();
    let left = tried.iter().rev().take(10_000);
    let (first, last) = left.fold((u64::MAX, 0), |(a, b), t| {
        (a.min(t.at.as_secs()), b.max(t.at.as_secs()))
    });
    assert!(last - first < 120, "{first}..{last}");
    assert!(world.internet.most("down.test") <= 20);
}

#[tokio::test(start_paused = true)]
async fn mail_for_a_fast_domain_leaves_at_once_while_100_000_wait_for_a_slow_one() {
    let world = World::new(|tried| match tried.domain() {
        "slow.test" => tried.all(Duration::from_mins(2), &delivered()),
        _ => tried.all(QUICK, &delivered()),
    });
    for _ in 0..100_000 {
        world.submit("me@home.test", &to("you@slow.test")).await;
    }
    pass(600).await;
    for n in 0..10 {
        let began = world.clock.elapsed();
        world
            .submit("me@home.test", &to(&format!("u{n}@fast.test")))
            .await;
        pass(1).await;
        let tried = world.internet.tried();
        let mine = tried.iter().find(|t| t.to[0] == format!("u{n}@fast.test"));
        let waited = mine.expect("it was tried").at.saturating_sub(began);
        assert!(waited < Duration::from_millis(5), "{waited:?}");
    }
    assert!(world.sender.status().await.unwrap().waiting > 99_000);
}

#[tokio::test(start_paused = true)]
async fn concurrency_rises_with_answers_up_to_the_bound_and_falls_with_trouble() {
    let world = World::new(|tried| match tried.at.as_secs() {
        600..1200 => tried.all(Duration::from_secs(5), &unreachable()),
        _ => tried.all(Duration::from_secs(5), &delivered()),
    });
    for _ in 0..5_000 {
        world.submit("me@home.test", &to("you@far.test")).await;
    }
    pass(1).await;
    assert_eq!(world.internet.most("far.test"), 5, "it starts low");
    pass(590).await;
    assert_eq!(world.internet.most("far.test"), 20);
    let limit = || async { world.sender.status().await.unwrap().destinations[0].limit };
    assert_eq!(limit().await, 20);
    pass(16).await;
    assert!(limit().await < 20, "the limit has fallen");
    pass(60).await;
    let tried = world.internet.tried();
    let in_trouble = tried.iter().filter(|t| t.at.as_secs() >= 600).count();
    assert!(in_trouble < 60, "{in_trouble}");
    let status = world.sender.status().await.unwrap();
    assert!(status.destinations[0].trouble.is_some());
    world.until_empty(DAY).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_meets_trouble_alone_waits_for_its_own_time_and_stops_no_others() {
    let world = World::new(|tried| match tried.sender.as_str() {
        "unloved@home.test" => tried.all(QUICK, &slowed()),
        _ => tried.all(Duration::from_secs(1), &delivered()),
    });
    for _ in 0..2_000 {
        world.submit("me@home.test", &to("you@far.test")).await;
    }
    world.submit("unloved@home.test", &to("it@far.test")).await;
    pass(1).await;
    for _ in 0..2_000 {
        world.submit("me@home.test", &to("you@far.test")).await;
    }
    pass(1200).await;
    assert_eq!(world.internet.delivered().len(), 4_000);
    let times = world.times("it@far.test");
    assert!(times.len() <= 3, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_meets_trouble_alone_does_not_take_every_probe() {
    let world = World::new(|tried| match tried.sender.as_str() {
        "unloved@home.test" => tried.all(QUICK, &slowed()),
        _ => tried.all(QUICK, &delivered()),
    });
    world.submit("unloved@home.test", &to("it@far.test")).await;
    pass(10).await;
    for n in 0..10 {
        world
            .submit("me@home.test", &to(&format!("u{n}@far.test")))
            .await;
    }
    pass(1250).await;
    assert_eq!(
        world.internet.delivered().len(),
        10,
        "{:?}",
        world.times("it@far.test")
    );
}
