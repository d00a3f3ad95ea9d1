//! TLS with mail exchangers: it is used if possible, and its absence never delays mail.

mod world;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use relay_remote::{Destination, RouteTls, TlsPolicy, TlsRule};
use relay_testkit::{Certificate, FakeMx, ScriptStep};
use world::{World, verdict};

/// Returns a certificate that is neither trusted nor valid for the host.
fn untrusted() -> Certificate {
    Certificate::for_names(&["somebody.else.test"])
}

#[tokio::test]
async fn starttls_is_used_if_offered_with_any_certificate() {
    for certificate in [untrusted(), Certificate::expired(&["mx.dest.test"])] {
        let mx = FakeMx::start().await;
        mx.offer_tls(&certificate);
        let world = World::with_mx(&mx).await;
        let outcome = world.outcome().await;
        assert_eq!(verdict(&outcome), "delivered 2.0.0");
        let tls = outcome.peer.expect("a peer").tls.expect("TLS");
        assert_eq!(
            (
                tls.version.as_str(),
                tls.verified,
                tls.cipher.as_str().is_empty()
            ),
            ("TLSv1.3", false, false)
        );
        let message = mx.messages().remove(0);
        assert!(message.tls);
        assert_eq!(message.server_name.as_deref(), Some("mx.dest.test"));
        let hellos = mx.commands();
        let hellos = hellos.iter().filter(|c| c.starts_with("EHLO")).count();
        assert_eq!(hellos, 2, "EHLO is repeated under TLS");
    }
}

#[tokio::test]
async fn without_starttls_mail_goes_out_in_clear_text() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "delivered 2.0.0");
    assert_eq!(outcome.peer.expect("a peer").tls, None);
    assert!(!mx.messages()[0].tls);
}

#[tokio::test]
async fn a_refused_starttls_costs_neither_the_mail_nor_a_connection() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&untrusted());
    mx.on("starttls", "454 4.7.0 not now");
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!((mx.connections(), mx.messages()[0].tls), (1, false));
}

#[tokio::test]
async fn after_a_broken_handshake_the_host_gets_clear_text_for_an_hour() {
    for step in [
        ScriptStep::Drop,
        ScriptStep::SayAndDrop("454 4.3.0 TLS is broken".to_owned()),
    ] {
        let mx = FakeMx::start().await;
        mx.offer_tls(&untrusted());
        mx.on("handshake", step.clone());
        let world = World::with_mx(&mx).await;
        let starttls = || {
            let commands = mx.commands();
            commands.iter().filter(|c| *c == "STARTTLS").count()
        };
        let outcome = world.outcome().await;
        assert_eq!(verdict(&outcome), "delivered 2.0.0", "{step:?}");
        assert_eq!(outcome.peer.expect("a peer").tls, None);
        assert_eq!((mx.connections(), starttls()), (2, 1));
        mx.behave();
        for (minutes, is_tried_again) in [(59, false), (2, true)] {
            tokio::time::pause();
            tokio::time::advance(Duration::from_mins(minutes)).await;
            tokio::time::resume();
            assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
            assert_eq!(starttls() == 2, is_tried_again, "{step:?}");
        }
        let messages = mx.messages();
        let over_tls: Vec<_> = messages.iter().map(|m| m.tls).collect();
        assert_eq!(over_tls, [false, false, true]);
    }
}

#[tokio::test]
async fn a_host_that_never_finishes_its_handshake_gets_clear_text_too() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&untrusted());
    mx.on("handshake", ScriptStep::Silence);
    let mut world = World::with_mx(&mx).await;
    world.reconfigure(|c| c.connect_timeout = Duration::from_millis(500));
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert!(!mx.messages()[0].tls);
}

#[tokio::test]
async fn clear_text_before_the_handshake_is_never_taken_for_a_reply() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&untrusted());
    // As the reply to the second EHLO this would make every message too large.
    let injected = b"220 2.0.0 go ahead\r\n250-mx.test\r\n250 SIZE 1\r\n";
    mx.on("starttls", ScriptStep::Raw(injected.to_vec()));
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert!(mx.messages()[0].tls);
    assert_eq!(mx.connections(), 1);
}

#[tokio::test]
async fn a_connection_in_clear_text_is_not_reused_for_mail_that_requires_tls() {
    let mx = FakeMx::start().await;
    let mut world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    let certificate = Certificate::for_names(&["mx.dest.test"]);
    mx.offer_tls(&certificate);
    world.trust(&certificate);
    let route = world::route("*", "mx.dest.test", mx.address().port());
    let route = route.with_tls(RouteTls::Require, None).expect("a route");
    world.reconfigure(|c| c.routes = vec![route]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    world.reconfigure(|c| c.routes.clear());
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    let over_tls: Vec<_> = mx
        .messages()
        .iter()
        .map(|m| (m.connection, m.tls))
        .collect();
    assert_eq!(over_tls, [(1, false), (2, true), (1, false)]);
}

#[tokio::test]
async fn a_connection_under_tls_is_reused() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&untrusted());
    let world = World::with_mx(&mx).await;
    for _ in 0..3 {
        let outcome = world.outcome().await;
        assert_eq!(verdict(&outcome), "delivered 2.0.0");
        assert!(outcome.peer.expect("a peer").tls.is_some());
    }
    assert_eq!(mx.connections(), 1);
}

/// Requires a valid certificate of every exchanger of these domains.
#[derive(Debug)]
struct Strict(&'static [&'static str]);

impl TlsPolicy for Strict {
    fn rule<'a>(
        &'a self,
        destination: Destination<'a>,
    ) -> Pin<Box<dyn Future<Output = TlsRule> + Send + 'a>> {
        Box::pin(async move {
            match destination {
                Destination::Exchanger { domain, .. } if self.0.contains(&domain) => {
                    TlsRule::Verified
                }
                _ => TlsRule::Opportunistic,
            }
        })
    }
}

#[tokio::test]
async fn a_policy_may_require_more_than_an_exchanger_offers() {
    let mx = FakeMx::start().await;
    let policy = Arc::new(Strict(&["dest.test"]));
    let world = World::with_policy(mx.address().port(), policy).await;
    for domain in ["dest.test", "other.test"] {
        world.dns.set(domain, "MX", &["10 mx.dest.test"]);
    }
    world.dns.set("mx.dest.test", "A", &["127.0.0.1"]);
    let send = async || world.send(&["u@other.test", "u@dest.test"]).await;
    assert_eq!(send().await, ["delivered 2.0.0", "deferred 4.7.4"]);
    mx.offer_tls(&untrusted());
    assert_eq!(send().await, ["delivered 2.0.0", "deferred 4.7.5"]);
    mx.on("handshake", ScriptStep::Drop);
    assert_eq!(send().await, ["delivered 2.0.0", "deferred 4.7.5"]);
    let preview = world.preview("a@sender.test", "u@dest.test").await;
    assert_eq!(preview.hosts[0].tls, TlsRule::Verified);
    assert!(world.alarms().is_empty(), "the host is not a smarthost");
}

#[tokio::test]
async fn a_connection_verified_for_one_name_is_not_reused_for_another() {
    let mx = FakeMx::start().await;
    let certificate = Certificate::for_names(&["one.test"]);
    mx.offer_tls(&certificate);
    let policy = Arc::new(Strict(&["one.test", "same.test", "two.test"]));
    let mut world = World::with_policy(mx.address().port(), policy).await;
    world.trust(&certificate);
    world.dns.set("same.test", "MX", &["10 ONE.test"]);
    for host in ["one.test", "two.test"] {
        world.dns.set(host, "A", &["127.0.0.1"]);
    }
    for (recipient, expected, connections) in [
        ("u@one.test", "delivered 2.0.0", 1),
        ("u@two.test", "deferred 4.7.5", 2),
        ("u@same.test", "delivered 2.0.0", 2),
    ] {
        assert_eq!(world.send(&[recipient]).await, [expected]);
        assert_eq!(mx.connections(), connections, "{recipient}");
    }
}

#[tokio::test]
async fn a_failure_during_tls_leads_to_a_try_in_clear_text() {
    for (stage, step) in [
        (
            "starttls",
            ScriptStep::SayAndDrop("421 4.3.2 no".to_owned()),
        ),
        ("starttls", ScriptStep::from("no reply at all")),
        ("starttls", ScriptStep::from("354 what")),
        ("starttls", ScriptStep::Drop),
        ("ehlo", ScriptStep::Drop),
    ] {
        let mx = FakeMx::start().await;
        mx.offer_tls(&untrusted());
        let hello = ScriptStep::from("250-mx.test\n250 STARTTLS");
        match stage {
            "ehlo" => mx.on_each(
                "ehlo",
                [hello, step.clone(), ScriptStep::from("250 mx.test")],
            ),
            _ => mx.on(stage, step.clone()),
        }
        let world = World::with_mx(&mx).await;
        let outcome = world.outcome().await;
        assert_eq!(verdict(&outcome), "delivered 2.0.0", "{stage} {step:?}");
        assert_eq!((mx.connections(), mx.messages()[0].tls), (2, false));
    }
}

#[tokio::test]
async fn a_host_that_refuses_the_relay_under_tls_is_not_tried_in_clear_text() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&untrusted());
    let hello = ScriptStep::from("250-mx.test\n250 STARTTLS");
    mx.on_each(
        "ehlo",
        [hello, ScriptStep::from("421 4.7.0 too many of you")],
    );
    let world = World::with_mx(&mx).await;
    assert_eq!(verdict(&world.outcome().await), "deferred 4.7.0");
    assert_eq!(mx.connections(), 1);
}
