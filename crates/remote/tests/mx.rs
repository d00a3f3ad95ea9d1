//! Which hosts are tried, and in which order.

mod world;

use std::net::SocketAddr;

use relay_remote::IpFamily;
use relay_testkit::{FakeMx, ScriptStep, Trouble};
use tokio::net::TcpListener;
use world::{World, ip, verdict, wire};

#[tokio::test]
async fn the_message_arrives_byte_for_byte() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "delivered 2.0.0");
    let peer = outcome.peer.expect("a peer");
    assert_eq!(
        (peer.host.as_str(), peer.address),
        ("mx.dest.test", mx.address())
    );
    let messages = mx.wait_for_messages(1).await;
    assert_eq!(messages[0].data, wire());
    assert_eq!(
        messages[0].mail,
        format!("<a@sender.test> SIZE={}", wire().len())
    );
    assert_eq!(messages[0].recipients, ["<u@dest.test>"]);
    assert_eq!(mx.commands()[0], "EHLO relay.test");
}

#[tokio::test]
async fn exchangers_are_tried_in_order_of_preference() {
    let [best, middle, worst] =
        FakeMx::start_on(["127.0.0.4", "127.0.0.5", "127.0.0.6"].map(ip)).await;
    best.on("connect", "421 out of connection slots");
    let world = World::new(best.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["30 c.test", "5 a.test", "10 b.test"]);
    world.dns.set("a.test", "A", &["127.0.0.4"]);
    world.dns.set("b.test", "A", &["127.0.0.5"]);
    world.dns.set("c.test", "A", &["127.0.0.6"]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(
        (
            best.connections(),
            middle.messages().len(),
            worst.connections()
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn every_address_of_every_host_is_tried() {
    let [mx] = FakeMx::start_on([ip("127.0.0.4")]).await;
    let world = World::new(mx.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["10 m1.test", "20 m2.test"]);
    world.dns.set("m1.test", "A", &["127.0.0.5"]);
    world
        .dns
        .set("m2.test", "A", &["127.0.0.6", "127.0.0.4", "127.0.0.7"]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
}

#[tokio::test]
async fn equal_preferences_share_the_load_despite_idle_connections() {
    let [a, b] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
    let world = World::new(a.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["10 m1.test", "10 m2.test"]);
    world.dns.set("m1.test", "A", &["127.0.0.2"]);
    world.dns.set("m2.test", "A", &["127.0.0.3"]);
    for _ in 0..40 {
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    }
    assert!(!a.messages().is_empty() && !b.messages().is_empty());
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn without_mx_the_domain_is_its_own_exchanger() {
    let [mx] = FakeMx::start_on([ip("127.0.0.2")]).await;
    let world = World::new(mx.address().port()).await;
    world.dns.set("dest.test", "A", &["127.0.0.2"]);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "delivered 2.0.0");
    assert_eq!(outcome.peer.expect("a peer").host, "dest.test");
}

#[tokio::test]
async fn an_alias_leads_to_the_exchangers_of_its_target() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    world.dns.set("alias.test", "CNAME", &["dest.test"]);
    assert_eq!(world.send(&["u@alias.test"]).await, ["delivered 2.0.0"]);
    assert_eq!(mx.messages()[0].recipients, ["<u@alias.test>"]);
}

#[tokio::test]
async fn mail_for_an_address_literal_goes_to_that_address() {
    let mx = FakeMx::start().await;
    let mut world = World::new(mx.address().port()).await;
    assert_eq!(world.send(&["u@[127.0.0.1]"]).await, ["delivered 2.0.0"]);
    world.reconfigure(|c| c.refuse_addresses = vec!["127.0.0.0/8".parse().expect("a net")]);
    assert_eq!(world.send(&["u@[127.0.0.1]"]).await, ["failed 5.4.4"]);
}

#[tokio::test]
async fn domains_that_accept_no_mail_fail_at_once() {
    let world = World::new(1).await;
    world.dns.set("null.test", "MX", &["0 ."]);
    world.dns.set("empty.test", "TXT", &["here"]);
    world
        .dns
        .set("nowhere.test", "MX", &["10 gone.test", "20 empty.test"]);
    assert_eq!(world.send(&["u@null.test"]).await, ["failed 5.1.10"]);
    assert_eq!(world.send(&["u@gone.test"]).await, ["failed 5.1.2"]);
    assert_eq!(world.send(&["u@empty.test"]).await, ["failed 5.4.4"]);
    assert_eq!(world.send(&["u@nowhere.test"]).await, ["failed 5.4.4"]);
}

#[tokio::test]
async fn broken_dns_always_defers() {
    let world = World::new(1).await;
    world.dns.fail("dest.test", Trouble::ServFail);
    assert_eq!(world.send(&["u@dest.test"]).await, ["deferred 4.4.3"]);
    world
        .dns
        .set("dest.test", "MX", &["10 broken.test", "20 gone.test"]);
    world.dns.fail("broken.test", Trouble::ServFail);
    assert_eq!(world.send(&["u@dest.test"]).await, ["deferred 4.4.3"]);
    world.dns.set("apex.test", "A", &[]);
    world.dns.set("apex.test", "MX", &[]);
    world.dns.set("dest.test", "MX", &["10 apex.test"]);
    assert_eq!(world.send(&["u@dest.test"]).await, ["failed 5.4.4"]);
}

#[tokio::test]
async fn silent_dns_defers() {
    let world = World::new(1).await;
    world.dns.fail("dest.test", Trouble::Silence);
    assert_eq!(world.send(&["u@dest.test"]).await, ["deferred 4.4.3"]);
}

#[tokio::test]
async fn an_unreachable_dns_server_defers() {
    let mut world = World::new(1).await;
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = unused.local_addr().expect("an address");
    drop(unused);
    world.reconfigure(|c| c.dns_servers = vec![address]);
    assert_eq!(world.send(&["u@dest.test"]).await, ["deferred 4.4.3"]);
}

#[tokio::test]
async fn mail_that_would_come_back_is_a_loop() {
    let mut world = World::new(2525).await;
    let own: SocketAddr = "127.0.0.9:2525".parse().expect("an address");
    world.reconfigure(|c| c.own_addresses = vec![own]);
    world
        .dns
        .set("named.test", "MX", &["10 Relay.Test", "20 mx.test"]);
    world.dns.set(
        "addressed.test",
        "MX",
        &["10 other.test", "10 us.test", "20 mx.test"],
    );
    world.dns.set("other.test", "A", &["127.0.0.8"]);
    world.dns.set("us.test", "A", &["127.0.0.9"]);
    world.dns.set("relay.test", "A", &["127.0.0.9"]);
    for recipient in [
        "u@named.test",
        "u@addressed.test",
        "u@us.test",
        "u@relay.test",
        "u@[127.0.0.9]",
    ] {
        assert_eq!(
            world.send(&[recipient]).await,
            ["failed 5.4.6"],
            "{recipient}"
        );
    }
    assert_eq!(
        world.dns.times_asked("mx.test", "A"),
        0,
        "exchangers after the relay itself are not looked up"
    );
}

#[tokio::test]
async fn exchangers_better_than_the_relay_itself_are_used() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    world.dns.set(
        "dest.test",
        "MX",
        &["10 mx.dest.test", "20 relay.test", "30 c.test"],
    );
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    mx.on("connect", ScriptStep::Drop);
    let world = World::with_mx(&mx).await;
    world.dns.set(
        "dest.test",
        "MX",
        &["10 mx.dest.test", "20 relay.test", "30 c.test"],
    );
    assert_eq!(verdict(&world.outcome().await), "deferred 4.4.2");
    assert_eq!(world.dns.times_asked("c.test", "A"), 0);
}

#[tokio::test]
async fn refused_addresses_are_skipped() {
    let [mx] = FakeMx::start_on([ip("127.0.0.2")]).await;
    let mut world = World::new(mx.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["10 m1.test", "20 m2.test"]);
    world.dns.set("m1.test", "A", &["127.0.0.1"]);
    world.dns.set("m2.test", "A", &["127.0.0.1", "127.0.0.2"]);
    world.reconfigure(|c| c.refuse_addresses = vec!["127.0.0.1/32".parse().expect("a net")]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    world.reconfigure(|c| c.refuse_addresses = vec!["127.0.0.0/8".parse().expect("a net")]);
    assert_eq!(verdict(&world.outcome().await), "failed 5.4.4");
}

#[tokio::test]
async fn the_unspecified_address_is_never_used_even_though_it_leads_to_loopback() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    world.dns.set("mx.dest.test", "A", &["0.0.0.0"]);
    world
        .dns
        .set("mx.dest.test", "AAAA", &["::", "::ffff:0.0.0.0"]);
    for recipient in ["u@dest.test", "u@[0.0.0.0]", "u@[IPv6:::]"] {
        assert_eq!(world.send(&[recipient]).await, ["failed 5.4.4"]);
    }
    assert_eq!(mx.connections(), 0);
}

#[tokio::test]
async fn only_the_configured_family_is_used() {
    let mx = FakeMx::start().await;
    let mut world = World::with_mx(&mx).await;
    world.dns.set("mx.dest.test", "AAAA", &["2001:db8::1"]);
    world.reconfigure(|c| c.ip = IpFamily::V4);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(world.dns.times_asked("mx.dest.test", "AAAA"), 0);
}

#[tokio::test]
async fn failures_up_to_the_message_lead_to_the_next_host() {
    for (stage, step) in [
        ("connect", ScriptStep::from("554 go away")),
        ("connect", ScriptStep::from("450 later")),
        ("connect", ScriptStep::Drop),
        ("connect", ScriptStep::from("SSH-2.0-OpenSSH")),
        ("ehlo", ScriptStep::from("421 closing")),
        ("ehlo", ScriptStep::Drop),
        ("mail", ScriptStep::from("421 closing")),
        ("mail", ScriptStep::Drop),
        ("rcpt", ScriptStep::from("421 closing")),
        ("rcpt", ScriptStep::Drop),
        ("data", ScriptStep::Drop),
        ("data", ScriptStep::from("250 what")),
        ("dot", ScriptStep::from("421 closing")),
    ] {
        let [bad, good] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
        bad.on(stage, step.clone());
        let world = World::new(bad.address().port()).await;
        world
            .dns
            .set("dest.test", "MX", &["10 m1.test", "20 m2.test"]);
        world.dns.set("m1.test", "A", &["127.0.0.2"]);
        world.dns.set("m2.test", "A", &["127.0.0.3"]);
        assert_eq!(
            verdict(&world.outcome().await),
            "delivered 2.0.0",
            "{stage}: {step:?}"
        );
        assert_eq!(
            (bad.connections(), good.messages().len()),
            (1, 1),
            "{stage}: {step:?}"
        );
    }
}

#[tokio::test]
async fn mail_fails_if_every_greeting_is_a_5xx_but_not_if_one_host_can_recover() {
    let [a, b] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
    a.on("connect", "554 5.7.1 no service here");
    b.on_each("connect", ["554 5.7.1 nor here", "450 4.3.2 later"]);
    let world = World::new(a.address().port()).await;
    world
        .dns
        .set("dest.test", "MX", &["10 m2.test", "20 m1.test"]);
    world.dns.set("m1.test", "A", &["127.0.0.2"]);
    world.dns.set("m2.test", "A", &["127.0.0.3"]);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "failed 5.7.1");
    assert!(
        outcome.text().contains("no service here"),
        "{}",
        outcome.text()
    );
    assert_eq!(verdict(&world.outcome().await), "deferred 4.3.2");
}

#[tokio::test]
async fn a_refused_connection_defers() {
    let [mx] = FakeMx::start_on([ip("127.0.0.2")]).await;
    let world = World::with_mx(&mx).await;
    drop(mx);
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.4.1");
    assert!(
        outcome.text().contains("connection refused"),
        "{}",
        outcome.text()
    );
}

#[tokio::test]
async fn one_attempt_opens_at_most_twelve_connections() {
    let mx = FakeMx::start().await;
    mx.on("connect", "421 not now");
    let world = World::new(mx.address().port()).await;
    let hosts: Vec<_> = (0..15).map(|i| format!("m{i}.test")).collect();
    for host in &hosts {
        world.dns.set(host, "A", &["127.0.0.1"]);
    }
    let records: Vec<_> = hosts.iter().map(|host| format!("10 {host}")).collect();
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    world.dns.set("dest.test", "MX", &records);
    assert_eq!(verdict(&world.outcome().await), "deferred 4.0.0");
    assert_eq!(mx.connections(), 12);
}
