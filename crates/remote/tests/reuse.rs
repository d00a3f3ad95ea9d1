//! Connections that carry more than one message.

mod world;

use std::time::Duration;

use relay_smtp::Stage;
use relay_testkit::{DEADLINE, FakeMx, ScriptStep};
use world::{World, job, verdict};

#[tokio::test]
async fn messages_in_sequence_share_a_connection() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    for _ in 0..5 {
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    }
    assert_eq!((mx.messages().len(), mx.connections()), (5, 1));
    let hellos = mx
        .commands()
        .iter()
        .filter(|c| c.starts_with("EHLO"))
        .count();
    assert_eq!(hellos, 1);
    assert!(!mx.commands().contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn domains_on_one_address_share_a_connection_and_outcomes_name_the_intended_host() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    world.dns.set("other.test", "MX", &["10 mx.other.test"]);
    world.dns.set("mx.other.test", "A", &["127.0.0.1"]);
    for (recipient, host) in [
        ("u@dest.test", "mx.dest.test"),
        ("u@other.test", "mx.other.test"),
    ] {
        let outcome = world.deliver(job(&[recipient])).await.remove(0);
        assert_eq!(outcome.peer.expect("a peer").host, host);
    }
    assert_eq!(mx.connections(), 1);
}

#[tokio::test]
async fn a_failed_transaction_is_followed_by_rset() {
    let mx = FakeMx::start().await;
    mx.on_each("dot", ["554 5.6.0 spam", "250 ok"]);
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "failed 5.6.0");
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(mx.connections(), 1);
    assert!(mx.commands().contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn an_idle_connection_that_the_peer_closed_is_not_a_failure() {
    let mx = FakeMx::start().await;
    mx.on_each(
        "dot",
        [
            ScriptStep::SayAndDrop("250 ok".to_owned()),
            ScriptStep::from("250 ok"),
        ],
    );
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    mx.wait("end of the connection", |mx| mx.open_connections() == 0)
        .await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!((mx.messages().len(), mx.connections()), (2, 2));
}

#[tokio::test]
async fn a_reused_connection_that_breaks_before_any_reply_is_replaced_by_a_new_one() {
    for step in [
        ScriptStep::Drop,
        ScriptStep::from("421 4.4.2 idle too long"),
        ScriptStep::SayAndDrop("421 4.4.2 idle too long".to_owned()),
    ] {
        let mx = FakeMx::start().await;
        mx.on_each(
            "mail",
            [
                ScriptStep::from("250 ok"),
                step.clone(),
                ScriptStep::from("250 ok"),
            ],
        );
        let world = World::with_mx(&mx).await;
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
        assert_eq!(
            verdict(&world.outcome().await),
            "delivered 2.0.0",
            "{step:?}"
        );
        assert_eq!((mx.messages().len(), mx.connections()), (2, 2), "{step:?}");
    }
}

#[tokio::test]
async fn a_new_connection_that_breaks_before_any_reply_is_a_failure() {
    let mx = FakeMx::start().await;
    mx.on("mail", ScriptStep::Drop);
    let world = World::with_mx(&mx).await;
    let outcome = world.outcome().await;
    assert_eq!(
        (verdict(&outcome).as_str(), outcome.stage),
        ("deferred 4.4.2", Stage::Mail)
    );
    assert_eq!(mx.connections(), 1);
}

#[tokio::test]
async fn a_peer_that_sends_an_unexpected_reply_is_not_used_again() {
    let mx = FakeMx::start().await;
    mx.on_each("dot", ["250 ok\n250 and more", "250 ok"]);
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(mx.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_quit() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(mx.open_connections(), 1, "it is kept for a while");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    tokio::time::timeout(DEADLINE, mx.wait_for_command("QUIT"))
        .await
        .expect("QUIT");
    mx.wait("end of the connection", |mx| mx.open_connections() == 0)
        .await;
}

#[tokio::test]
async fn concurrent_messages_use_separate_connections() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let (a, b, c) = tokio::join!(world.outcome(), world.outcome(), world.outcome());
    for outcome in [a, b, c] {
        assert_eq!(verdict(&outcome), "delivered 2.0.0");
    }
    assert_eq!(mx.messages().len(), 3);
    assert!(mx.connections() <= 3);
}

#[tokio::test]
async fn a_connection_to_a_host_of_others_ends_after_a_hundred_messages() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    for _ in 0..101 {
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    }
    assert_eq!(mx.connections(), 2);
    mx.wait_for_command("QUIT").await;
}

#[tokio::test]
async fn the_addresses_of_a_host_share_the_load_despite_idle_connections() {
    let [a, b] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(world::ip)).await;
    let world = World::new(a.address().port()).await;
    world.dns.set("dest.test", "MX", &["10 mx.dest.test"]);
    world
        .dns
        .set("mx.dest.test", "A", &["127.0.0.2", "127.0.0.3"]);
    for _ in 0..40 {
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    }
    assert!(!a.messages().is_empty() && !b.messages().is_empty());
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn all_idle_connections_are_closed_with_quit_at_the_end() {
    let [a, b] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(world::ip)).await;
    let world = World::new(a.address().port()).await;
    let send = async || world.send(&["u@[127.0.0.2]", "v@[127.0.0.3]"]).await;
    assert_eq!(send().await, ["delivered 2.0.0"; 2]);
    // A peer that never answers QUIT must not delay the end.
    b.on("quit", ScriptStep::Silence);
    tokio::time::timeout(DEADLINE, world.close())
        .await
        .expect("an end");
    for mx in [&a, &b] {
        assert_eq!(mx.commands().last().map(String::as_str), Some("QUIT"));
    }
    assert_eq!(send().await, ["delivered 2.0.0"; 2]);
    for mx in [&a, &b] {
        mx.wait("two closed connections", |mx| {
            mx.connections() == 2 && mx.commands().iter().filter(|c| *c == "QUIT").count() == 2
        })
        .await;
    }
}
