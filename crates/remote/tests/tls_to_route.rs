//! TLS with smarthosts: mail leaves only with the configured TLS.

mod world;

use relay_remote::RouteTls;
use relay_smtp::Stage;
use relay_testkit::{Certificate, FakeMx, ScriptStep};
use world::{World, verdict};

fn smarts() -> Certificate {
    Certificate::for_names(&["smart.test"])
}

#[tokio::test]
async fn a_verified_host_gets_the_mail_and_the_outcome_says_so() {
    for tls in [RouteTls::Require, RouteTls::Implicit] {
        let (mx, certificate) = (FakeMx::start().await, smarts());
        match tls {
            RouteTls::Implicit => mx.begin_with_tls(&certificate),
            _ => mx.offer_tls(&certificate),
        }
        let mut world = World::with_route(&mx, tls).await;
        world.trust(&certificate);
        let outcome = world.outcome().await;
        assert_eq!(verdict(&outcome), "delivered 2.0.0", "{tls:?}");
        let settled = outcome.peer.expect("a peer").tls.expect("TLS");
        assert!(settled.verified, "{settled}");
        let message = mx.messages().remove(0);
        assert_eq!(message.server_name.as_deref(), Some("smart.test"));
        assert!(!mx.commands().contains(&"STARTTLS".to_owned()) || tls == RouteTls::Require);
        assert!(world.alarms().is_empty());
    }
}

#[tokio::test]
async fn an_invalid_certificate_defers_the_mail_and_the_outcome_says_what_to_do() {
    for (certificate, is_trusted, hint) in [
        (
            smarts(),
            false,
            "put its authority's certificate into delivery.ca_file",
        ),
        (
            Certificate::expired(&["smart.test"]),
            true,
            "it has expired",
        ),
        (
            Certificate::for_names(&["other.test"]),
            true,
            "it is for other names",
        ),
    ] {
        for tls in [RouteTls::Require, RouteTls::Implicit] {
            let mx = FakeMx::start().await;
            match tls {
                RouteTls::Implicit => mx.begin_with_tls(&certificate),
                _ => mx.offer_tls(&certificate),
            }
            let mut world = World::with_route(&mx, tls).await;
            world.trust(&Certificate::for_names(&["unconcerned.test"]));
            if is_trusted {
                world.trust(&certificate);
            }
            let outcome = world.outcome().await;
            assert_eq!(verdict(&outcome), "deferred 4.7.5", "{hint}");
            assert_eq!(outcome.stage, Stage::Tls);
            let text = outcome.text();
            assert!(text.contains(hint), "{text}");
            assert!(text.contains("the certificate of smart.test"), "{text}");
            assert!(mx.messages().is_empty());
            assert!(!mx.commands().iter().any(|c| c.starts_with("MAIL")));
            assert_eq!(world.alarms().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_host_given_as_an_address_needs_a_certificate_for_the_address() {
    for (name, expected) in [
        ("127.0.0.1", "delivered 2.0.0"),
        ("127.0.0.9", "deferred 4.7.5"),
    ] {
        let (mx, certificate) = (FakeMx::start().await, Certificate::for_names(&[name]));
        mx.offer_tls(&certificate);
        let mut world = World::with_smarthost(mx.address()).await;
        world.trust(&certificate);
        world.reconfigure(|c| {
            let routes = c.routes.drain(..);
            let routes = routes.map(|r| r.with_tls(RouteTls::Require, None).expect("a route"));
            c.routes = routes.collect();
        });
        assert_eq!(verdict(&world.outcome().await), expected);
    }
}

#[tokio::test]
async fn a_required_tls_never_falls_back_to_clear_text() {
    for (step, stage, expected) in [
        (
            ScriptStep::from("454 4.7.0 not now"),
            "starttls",
            "deferred 4.7.0",
        ),
        (
            ScriptStep::from("554 5.7.0 never"),
            "starttls",
            "deferred 4.7.0",
        ),
        (ScriptStep::Drop, "handshake", "deferred 4.7.5"),
    ] {
        let (mx, certificate) = (FakeMx::start().await, smarts());
        mx.offer_tls(&certificate);
        mx.on(stage, step);
        let mut world = World::with_route(&mx, RouteTls::Require).await;
        world.trust(&certificate);
        for _ in 0..2 {
            let outcome = world.outcome().await;
            assert_eq!(verdict(&outcome), expected);
            assert_eq!(outcome.stage, Stage::Tls);
        }
        mx.behave();
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
        assert!(mx.messages()[0].tls);
        assert!(world.alarms().is_empty());
    }
}

#[tokio::test]
async fn a_host_without_starttls_gets_no_mail() {
    let mx = FakeMx::start().await;
    let world = World::with_route(&mx, RouteTls::Require).await;
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.7.4");
    assert!(outcome.text().contains("smart.test"), "{}", outcome.text());
    assert!(outcome.text().contains("does not offer STARTTLS"));
    assert!(!mx.commands().iter().any(|c| c.starts_with("MAIL")));
}

#[tokio::test]
async fn the_certificate_does_not_matter_without_tls_or_with_opportunistic_tls() {
    for (tls, is_encrypted) in [(RouteTls::None, false), (RouteTls::Opportunistic, true)] {
        let mx = FakeMx::start().await;
        mx.offer_tls(&Certificate::expired(&["other.test"]));
        let world = World::with_route(&mx, tls).await;
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
        assert_eq!(mx.messages()[0].tls, is_encrypted);
    }
}

#[tokio::test]
async fn the_next_host_may_have_a_better_certificate() {
    let [bad, good] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(world::ip)).await;
    let certificate = Certificate::for_names(&["good.test"]);
    bad.offer_tls(&certificate);
    good.offer_tls(&certificate);
    let mut world = World::new(1).await;
    world.trust(&certificate);
    world.dns.set("bad.test", "A", &["127.0.0.2"]);
    world.dns.set("good.test", "A", &["127.0.0.3"]);
    let port = good.address().port();
    let route = relay_remote::Route::new("*", ["bad.test", "good.test"], port).expect("a route");
    let route = route.with_tls(RouteTls::Require, None).expect("a route");
    world.reconfigure(|c| c.routes = vec![route]);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!((bad.messages().len(), good.messages().len()), (0, 1));
}

#[tokio::test]
async fn the_ca_file_is_read_again_with_a_new_configuration() {
    let (mx, certificate) = (FakeMx::start().await, smarts());
    mx.offer_tls(&certificate);
    let mut world = World::with_route(&mx, RouteTls::Require).await;
    world.trust(&Certificate::for_names(&["old.test"]));
    assert_eq!(verdict(&world.outcome().await), "deferred 4.7.5");
    world.reconfigure(|c| c.ca_file = Some("/no/such/file".into()));
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.7.5");
    assert!(outcome.text().contains("cannot read /no/such/file"));
    world.trust(&certificate);
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
}
