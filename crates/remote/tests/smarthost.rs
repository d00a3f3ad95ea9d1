//! Mail through a smarthost of the operator: its problems defer mail and never bounce it.

mod world;

use relay_remote::Route;
use relay_testkit::{FakeMx, ScriptStep, Trouble};
use world::{World, ip, job, route, verdict, wire};

#[tokio::test]
async fn all_mail_goes_through_the_smarthost_without_a_dns_lookup() {
    let mx = FakeMx::start().await;
    let world = World::with_smarthost(mx.address()).await;
    assert_eq!(world.destination("u@any.test"), mx.address().to_string());
    let verdicts = world
        .send(&["u@any.test", "v@other.test", "postmaster"])
        .await;
    assert_eq!(verdicts, ["delivered 2.0.0"; 3]);
    assert_eq!(mx.messages()[0].data, wire());
    assert_eq!(
        mx.messages()[0].recipients,
        ["<u@any.test>", "<v@other.test>", "<postmaster>"]
    );
    assert!(world.dns.asked().is_empty());
}

#[tokio::test]
async fn its_name_is_looked_up_without_mx() {
    let mx = FakeMx::start().await;
    let mut world = World::new(1).await;
    world.dns.set("smart.test", "MX", &["10 wrong.test"]);
    world.dns.set("smart.test", "A", &["127.0.0.1"]);
    world.reconfigure(|c| c.routes = vec![route("*", "smart.test", mx.address().port())]);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "delivered 2.0.0");
    assert_eq!(outcome.peer.expect("a peer").host, "smart.test");
    assert_eq!(world.dns.times_asked("smart.test", "MX"), 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_never_bounces_mail() {
    let mut world = World::new(1).await;
    world.reconfigure(|c| c.routes = vec![route("*", "smart.test", 25)]);
    assert_eq!(verdict(&world.outcome().await), "deferred 4.1.2");
    world.dns.set("smart.test", "TXT", &["no address"]);
    assert_eq!(verdict(&world.outcome().await), "deferred 4.4.4");
    world.dns.fail("smart.test", Trouble::ServFail);
    assert_eq!(verdict(&world.outcome().await), "deferred 4.4.3");
}

#[tokio::test]
async fn a_refused_session_never_bounces_mail_but_a_refused_message_does() {
    for (stage, step, expected) in [
        (
            "connect",
            ScriptStep::from("554 5.7.1 blocked"),
            "deferred 4.7.1",
        ),
        (
            "ehlo",
            ScriptStep::from("550 5.7.1 blocked"),
            "deferred 4.0.0",
        ),
        (
            "mail",
            ScriptStep::from("530 5.7.0 authenticate first"),
            "deferred 4.7.0",
        ),
        (
            "mail",
            ScriptStep::from("550 5.7.1 not this sender"),
            "failed 5.7.1",
        ),
        ("rcpt", ScriptStep::from("550 5.1.1 no"), "failed 5.1.1"),
        ("dot", ScriptStep::from("554 5.6.0 spam"), "failed 5.6.0"),
    ] {
        let mx = FakeMx::start().await;
        mx.on(stage, step);
        mx.on("helo", "550 no");
        let world = World::with_smarthost(mx.address()).await;
        assert_eq!(verdict(&world.outcome().await), expected, "{stage}");
    }
}

#[tokio::test]
async fn several_hosts_are_tried_in_the_order_of_the_configuration() {
    let [first, second] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
    let mut world = World::new(1).await;
    let port = first.address().port();
    let both = Route::new("*", ["gone.test", "[127.0.0.2]", "127.0.0.3"], port).expect("a route");
    world.reconfigure(|c| c.routes = vec![both]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!((first.messages().len(), second.connections()), (1, 0));
    drop(first);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(second.messages().len(), 1);
}

#[tokio::test]
async fn the_route_is_decided_again_at_every_attempt() {
    let [old, new] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
    old.on("connect", "421 no");
    let mut world = World::with_smarthost(old.address()).await;
    assert_eq!(verdict(&world.outcome().await), "deferred 4.0.0");
    let port = new.address().port();
    world.reconfigure(|c| c.routes = vec![route("*", "127.0.0.3", port)]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
}

#[tokio::test]
async fn recipients_with_different_next_hops_are_delivered_separately() {
    let [one, two] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
    let mut world = World::new(1).await;
    let port = one.address().port();
    let routes = vec![
        route("one.test", "127.0.0.2", port),
        route("two.test", "127.0.0.3", port),
    ];
    world.reconfigure(|c| c.routes = routes);
    two.on("rcpt", "550 5.1.1 no");
    let outcomes = world
        .deliver(job(&["a@one.test", "b@two.test", "c@one.test"]))
        .await;
    let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
    assert_eq!(
        verdicts,
        ["delivered 2.0.0", "failed 5.1.1", "delivered 2.0.0"]
    );
    assert_eq!(
        one.messages()[0].recipients,
        ["<a@one.test>", "<c@one.test>"]
    );
}

#[tokio::test]
async fn a_route_that_leads_back_to_the_relay_is_not_used() {
    let mx = FakeMx::start().await;
    let mut world = World::with_smarthost(mx.address()).await;
    world.reconfigure(|c| c.own_addresses = vec![mx.address()]);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.4.6");
    assert!(outcome.text().contains("come back to this relay"));
    assert_eq!((mx.connections(), world.alarms().len()), (0, 1));
    let [other] = FakeMx::start_on([ip("127.0.0.2")]).await;
    let port = other.address().port();
    world
        .dns
        .set("smart.test", "A", &["127.0.0.1", "127.0.0.2"]);
    world.reconfigure(|c| {
        c.own_addresses = vec![(ip("127.0.0.1"), port).into()];
        c.routes = vec![route("*", "smart.test", port)];
    });
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(other.messages().len(), 1);
}
