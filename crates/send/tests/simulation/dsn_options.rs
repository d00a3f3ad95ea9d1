//! Reports that a sender asked for or declined, and reports that the operator configured.

use std::time::Duration;

use relay_message::QueueStore;
use relay_smtp::dsn::{DsnRequest, Notify};

use crate::world::{
    DAY, DSN_PEER, Tried, World, config, deferred, delivered, failed, pass, to, unreachable,
    with_notify,
};

const QUICK: Duration = Duration::from_millis(50);

/// Returns a world with one domain of each kind.
fn world() -> World {
    World::new(|tried| match tried.domain() {
        "far.test" => tried.all(QUICK, &deferred()),
        "gone.test" => tried.all(QUICK, &failed()),
        "down.test" => tried.all(QUICK, &unreachable()),
        _ => tried.all(QUICK, &delivered()),
    })
}

fn notify(text: &str) -> Notify {
    text.parse().expect("a good NOTIFY")
}

fn reports(world: &World) -> Vec<Tried> {
    let tried = world.internet.tried();
    tried.into_iter().filter(|t| t.sender.is_empty()).collect()
}

/// Returns the reports that the sender gets within a day for one recipient with this NOTIFY value.
async fn told(world: &World, address: &str, option: Notify) -> Vec<Tried> {
    let before = reports(world).len();
    world
        .submit_with_dsn(
            "me@home.test",
            vec![with_notify(address, option)],
            DsnRequest::default(),
        )
        .await;
    pass(86400).await;
    reports(world).split_off(before)
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_reported_if_asked_for_and_the_peer_makes_no_reports() {
    let world = world();
    let told_of = told(&world, "you@ok.test", notify("SUCCESS")).await;
    assert_eq!(told_of.len(), 1);
    assert_eq!(told_of[0].to, ["me@home.test"]);
    let text = &told_of[0].text;
    assert!(
        text.contains("Action: relayed\r\nStatus: 2.0.0\r\n"),
        "{text}"
    );
    assert!(!text.contains("\r\nbody\r\n"), "headers alone");
    for (address, option) in [
        ("you@ok.test", Notify::Unspecified),
        ("you@ok.test", notify("FAILURE,DELAY")),
        (&format!("you@{DSN_PEER}"), notify("SUCCESS")),
    ] {
        assert!(
            told(&world, address, option).await.is_empty(),
            "{address} {option}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_unless_notify_leaves_it_out() {
    let world = world();
    for (option, reports) in [
        (Notify::Unspecified, 1),
        (notify("SUCCESS,FAILURE"), 1),
        (notify("SUCCESS,DELAY"), 0),
        (Notify::Never, 0),
    ] {
        assert_eq!(
            told(&world, "you@gone.test", option).await.len(),
            reports,
            "{option}"
        );
    }
    assert_eq!(world.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_only_for_recipients_whose_notify_includes_it() {
    let world = world();
    let to = vec![
        with_notify("a@gone.test", Notify::Never),
        with_notify("b@gone.test", Notify::Unspecified),
    ];
    world
        .submit_with_dsn("me@home.test", to, DsnRequest::default())
        .await;
    world.until_empty(DAY).await;
    let reports = reports(&world);
    assert_eq!(reports.len(), 1);
    assert!(reports[0].text.contains("; b@gone.test"));
    assert!(!reports[0].text.contains("a@gone.test"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_carries_the_dsn_options() {
    let world = world();
    let request = DsnRequest {
        envid: Some("QQ1".parse().expect("a good ENVID")),
        ret: None,
    };
    let to = vec![with_notify("you@ok.test", notify("SUCCESS"))];
    world
        .submit_with_dsn("me@home.test", to, request.clone())
        .await;
    pass(1).await;
    let tried = &world.internet.tried()[0];
    assert_eq!(
        (&tried.envid, &tried.notify),
        (&request.envid, &vec![notify("SUCCESS")])
    );
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_asked_gets_one_delay_notice_after_four_hours() {
    let world = world();
    for address in ["you@far.test", "you@down.test"] {
        let told_of = told(&world, address, notify("DELAY,FAILURE")).await;
        assert_eq!(told_of.len(), 1, "{address}");
        let text = &told_of[0].text;
        assert!(
            text.contains("Action: delayed") && text.contains("Will-Retry-Until: "),
            "{text}"
        );
        assert!(told(&world, address, Notify::Unspecified).await.is_empty());
    }
    let first = reports(&world)[0].at;
    assert!((14_400..14_402).contains(&first.as_secs()), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn every_sender_gets_a_configured_delay_notice_even_for_mail_never_tried() {
    let mut world = world();
    world.config.reports.delay_notice = Some(Duration::from_hours(1));
    world.sender.reconfigure(world.config.clone());
    for n in 0..200 {
        world
            .submit(&format!("me{n}@home.test"), &to(&format!("u{n}@down.test")))
            .await;
    }
    pass(3600 + 60).await;
    let told = reports(&world);
    assert_eq!(told.len(), 200);
    assert!(told.iter().all(|t| t.text.contains("connection refused")));
    let tried = world.internet.tried();
    let probes = tried.iter().filter(|t| t.domain() == "down.test").count();
    assert!(probes < 20, "no attempt was made for it: {probes}");
    world.restart(Duration::from_secs(1)).await;
    pass(86400).await;
    assert_eq!(reports(&world).len(), 200, "once, even after a restart");
}

#[tokio::test(start_paused = true)]
async fn one_delay_notice_covers_the_waiting_recipients_of_all_destinations() {
    let world = world();
    let asked = notify("DELAY");
    let to = vec![
        with_notify("a@far.test", asked),
        with_notify("b@down.test", asked),
        with_notify("c@far.test", Notify::Never),
        with_notify("d@ok.test", asked),
    ];
    world
        .submit_with_dsn("me@home.test", to, DsnRequest::default())
        .await;
    pass(86400).await;
    let told = reports(&world);
    assert_eq!(told.len(), 1);
    for (address, is_told) in [
        ("a@far.test", true),
        ("b@down.test", true),
        ("c@far.test", false),
        ("d@ok.test", false),
    ] {
        assert_eq!(
            told[0].text.contains(&format!("rfc822; {address}")),
            is_told,
            "{address}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_report_causes_no_delay_notice() {
    let mut world = world();
    world.config.reports.delay_notice = Some(Duration::from_hours(1));
    world.sender.reconfigure(world.config.clone());
    world.submit("", &to("you@far.test")).await;
    world.submit("me@far.test", &to("you@gone.test")).await;
    pass(86400).await;
    let told = reports(&world);
    assert!(told.iter().all(|t| !t.text.contains("Action: delayed")));
}

#[tokio::test(start_paused = true)]
async fn a_sender_gets_a_bounded_number_of_reports_within_an_hour() {
    let world = world();
    for n in 0..300 {
        world
            .submit("me@home.test", &to(&format!("u{n}@gone.test")))
            .await;
    }
    world.submit("other@home.test", &to("you@gone.test")).await;
    world.until_empty(Duration::from_mins(30)).await;
    assert_eq!(reports(&world).len(), 101);
    let status = world.sender.status().await.expect("the runner runs");
    assert_eq!(status.reports_suppressed, 200);
    pass(3600).await;
    world.submit("me@home.test", &to("you@gone.test")).await;
    pass(10).await;
    assert_eq!(reports(&world).len(), 102);
}

#[tokio::test(start_paused = true)]
async fn many_relay_notices_suppress_no_failure_report() {
    let world = world();
    let mut config = config();
    config.reports.per_sender = 5;
    world.sender.reconfigure(config);
    let relayed = (0..20).map(|n| with_notify(&format!("u@ok{n}.test"), notify("SUCCESS")));
    world
        .submit_with_dsn("me@home.test", relayed.collect(), DsnRequest::default())
        .await;
    pass(10).await;
    assert_eq!(reports(&world).len(), 5);
    world.submit("me@home.test", &to("u@gone.test")).await;
    pass(10).await;
    let failures = reports(&world).split_off(5);
    assert!(failures.len() == 1 && failures[0].text.contains("Action: failed"));
}
