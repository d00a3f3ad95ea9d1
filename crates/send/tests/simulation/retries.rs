//! When a message is tried, and how each recipient ends.

use std::time::Duration;

use relay_message::{QueueStore, RecipientState};

use crate::world::{DAY, World, deferred, delivered, domain, failed, pass, to};

const QUICK: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn attempts_come_at_the_squares_then_at_the_cap_and_last_at_the_expiry() {
    let world = World::new(|tried| match tried.domain() {
        "far.test" => tried.all(QUICK, &deferred()),
        _ => tried.all(QUICK, &delivered()),
    });
    world.submit("me@home.test", &to("you@far.test")).await;
    world.until_empty(7 * DAY).await;
    let times = world.times("you@far.test");
    let unit = 400;
    let mut last = 0;
    for (n, &time) in times.iter().enumerate().take(10) {
        let square = unit * (n as u64) * (n as u64);
        let jitter = (square - last) / 20 + 1;
        assert!(
            (square..=square + jitter).contains(&time),
            "attempt {n}: {times:?}"
        );
        last = square;
    }
    let cap = 4 * 3600;
    let pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(pauses.iter().all(|&pause| pause <= cap), "{pauses:?}");
    let capped = pauses.iter().filter(|&&p| p >= cap - cap / 20 - 1).count();
    assert!(
        capped > 20,
        "the later pauses are the cap less some jitter: {pauses:?}"
    );
    assert_eq!(times.last(), Some(&(5 * 86400)));
}

#[tokio::test(start_paused = true)]
async fn a_4xx_to_one_recipient_defers_that_recipient_alone() {
    let world = World::new(|tried| {
        let is_first = tried.at < Duration::from_mins(1);
        let outcome = |to: &String| match to.as_str() {
            "slow@far.test" if is_first => deferred(),
            _ => delivered(),
        };
        (QUICK, tried.to.iter().map(outcome).collect())
    });
    let addresses = ["a@far.test", "slow@far.test", "b@far.test"].map(String::from);
    let id = world.submit("me@home.test", &addresses).await;
    pass(60).await;
    let message = world.store.get(id).await.unwrap().expect("one is left");
    let done = [0, 1, 2].map(|i: usize| message.recipients[i].state == RecipientState::Done);
    assert_eq!(done, [true, false, true]);
    world.until_empty(DAY).await;
    assert_eq!(world.times("a@far.test"), [0]);
    assert_eq!(world.times("slow@far.test").len(), 2);
    let tried = world.internet.tried();
    assert_eq!((tried.len(), tried[1].to.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_recipient_of_a_mixed_message_gets_its_own_result() {
    let world = World::new(|tried| {
        let outcome = |to: &String| match (domain(to), to.split('@').next()) {
            ("far.test", Some("gone")) => failed(),
            ("far.test", Some("later")) if tried.at < Duration::from_mins(1) => deferred(),
            _ => delivered(),
        };
        (QUICK, tried.to.iter().map(outcome).collect())
    });
    let addresses = [
        "ok@far.test",
        "gone@far.test",
        "later@far.test",
        "ok@other.test",
    ];
    let id = world
        .submit("me@home.test", &addresses.map(String::from))
        .await;
    world.until_empty(DAY).await;
    let delivered = world.internet.delivered();
    for address in ["ok@far.test", "later@far.test", "ok@other.test"] {
        assert_eq!(delivered.get(&(id, address.into())), Some(&1), "{address}");
    }
    assert_eq!(world.times("gone@far.test"), [0]);
    let bounces: Vec<_> = world
        .internet
        .tried()
        .into_iter()
        .filter(|t| t.sender.is_empty())
        .collect();
    assert_eq!(
        (bounces.len(), bounces[0].to.as_slice()),
        (1, to("me@home.test").as_slice())
    );
    assert!(
        bounces[0].at < Duration::from_secs(1),
        "the failure is reported at once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_takes_100_recipients_and_the_rest_follows() {
    let world = World::new(|tried| tried.all(QUICK, &delivered()));
    let addresses: Vec<String> = (0..250).map(|n| format!("u{n}@far.test")).collect();
    world.submit("me@home.test", &addresses).await;
    world.until_empty(DAY).await;
    let sizes: Vec<usize> = world.internet.tried().iter().map(|t| t.to.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(world.internet.delivered().values().all(|&n| n == 1));
}

#[tokio::test(start_paused = true)]
async fn recipients_beyond_the_first_100_are_tried_even_if_those_fail() {
    let world = World::new(|tried| {
        let mut outcome = deferred();
        outcome.reply = None;
        let outcomes = tried.to.iter().map(|to| {
            if to.as_str() >= "u100@far.test" {
                delivered()
            } else {
                outcome.clone()
            }
        });
        (QUICK, outcomes.collect())
    });
    let addresses: Vec<String> = (0..150).map(|n| format!("u{n:03}@far.test")).collect();
    world.submit("me@home.test", &addresses).await;
    pass(7200).await;
    assert_eq!(world.internet.delivered().len(), 50);
    assert!(
        world.internet.tried().len() < 30,
        "{}",
        world.internet.tried().len()
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_gives_no_outcome_or_panics_is_a_deferral() {
    let world = World::new(|tried| {
        assert!(tried.at > Duration::from_mins(1) || tried.domain() != "panic.test");
        match tried.at.as_secs() {
            0 => (QUICK, Vec::new()),
            _ => tried.all(QUICK, &delivered()),
        }
    });
    let addresses = ["a@panic.test", "b@none.test"];
    let id = world
        .submit("me@home.test", &addresses.map(String::from))
        .await;
    pass(10).await;
    let message = world
        .store
        .get(id)
        .await
        .unwrap()
        .expect("the message is queued");
    for recipient in &message.recipients {
        let (_, outcome) = recipient.last().expect("it has been tried");
        assert!(outcome.text().contains("a fault in this relay"));
    }
    world.until_empty(DAY).await;
    for address in addresses {
        let times = world.times(address);
        assert_eq!(times.len(), 2, "{times:?}");
        assert!((400..=420).contains(&times[1]), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_panic_keep_no_slot_and_their_messages_are_given_up_in_time() {
    let world = World::new(|tried| {
        assert!(tried.domain() != "panic.test");
        tried.all(QUICK, &delivered())
    });
    for n in 0..130 {
        world
            .submit(&format!("me{n}@home.test"), &to("u@panic.test"))
            .await;
    }
    world.until_empty(5 * DAY + Duration::from_hours(4)).await;
    assert_eq!(world.internet.delivered().len(), 130, "the reports");
}
