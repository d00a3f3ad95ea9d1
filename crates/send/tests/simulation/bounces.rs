//! Which failures are reported, and to whom.

use std::time::Duration;

use crate::world::{DAY, Tried, World, deferred, delivered, domain, failed, to, unreachable};

const QUICK: Duration = Duration::from_millis(50);

fn bounces(world: &World) -> Vec<Tried> {
    let tried = world.internet.tried();
    tried.into_iter().filter(|t| t.sender.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn expiry_makes_one_report_with_every_recipient_and_the_last_real_reply() {
    let world = World::new(|tried| match tried.domain() {
        "far.test" | "other.test" => tried.all(QUICK, &deferred()),
        "down.test" => tried.all(QUICK, &unreachable()),
        _ => tried.all(QUICK, &delivered()),
    });
    let addresses = ["a@far.test", "b@far.test", "c@other.test", "d@down.test"];
    world
        .submit("me@home.test", &addresses.map(String::from))
        .await;
    world.until_empty(6 * DAY).await;
    let bounces = bounces(&world);
    assert_eq!(bounces.len(), 1, "{bounces:?}");
    assert_eq!(bounces[0].to, ["me@home.test"]);
    assert!((5 * DAY..5 * DAY + Duration::from_secs(5)).contains(&bounces[0].at));
    let text = &bounces[0].text;
    for address in addresses {
        assert!(
            text.contains(&format!("Final-Recipient: rfc822; {address}\r\n")),
            "{text}"
        );
    }
    assert_eq!(
        text.matches("Action: failed\r\nStatus: 4.4.7\r\n").count(),
        4
    );
    let reply = "Diagnostic-Code: smtp; 450 4.2.0 come back later\r\n";
    assert_eq!(text.matches(reply).count(), 3);
    assert!(text.contains("connection refused"));
}

#[tokio::test(start_paused = true)]
async fn every_message_for_a_dead_destination_is_given_up_in_time() {
    let world = World::new(|tried| match tried.domain() {
        "down.test" => tried.all(QUICK, &unreachable()),
        _ => tried.all(QUICK, &delivered()),
    });
    for n in 0..500 {
        world
            .submit(&format!("me{n}@home.test"), &to("you@down.test"))
            .await;
    }
    world.until_empty(5 * DAY + Duration::from_mins(2)).await;
    let bounces = bounces(&world);
    assert_eq!(bounces.len(), 500);
    assert!(bounces.iter().all(|b| b.text.contains("Status: 4.4.7")));
}

#[tokio::test(start_paused = true)]
async fn a_bounce_that_fails_goes_to_the_postmaster_once_and_never_further() {
    let world = World::new(|tried| tried.all(QUICK, &failed()));
    world.submit("me@home.test", &to("you@far.test")).await;
    world.until_empty(DAY).await;
    let tried = world.internet.tried();
    let to: Vec<&str> = tried.iter().map(|t| t.to[0].as_str()).collect();
    assert_eq!(to, ["you@far.test", "me@home.test", "postmaster@home.test"]);
    assert!(tried[1..].iter().all(|t| t.sender.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_notification_that_fails_is_discarded() {
    let world = World::new(|tried| tried.all(QUICK, &failed()));
    world.submit("", &to("you@far.test")).await;
    world.until_empty(DAY).await;
    assert_eq!(world.internet.tried().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn recipients_that_fail_together_in_several_transactions_are_reported_together() {
    let world = World::new(|tried| match domain(&tried.to[0]) {
        "home.test" => tried.all(QUICK, &delivered()),
        _ => tried.all(QUICK, &failed()),
    });
    let addresses: Vec<String> = (0..250).map(|n| format!("u{n}@far.test")).collect();
    world.submit("me@home.test", &addresses).await;
    world.until_empty(DAY).await;
    let bounces = bounces(&world);
    assert_eq!(bounces.len(), 1);
    assert_eq!(bounces[0].text.matches("Final-Recipient").count(), 250);
}
