//! Logging in to smarthosts: with the strongest mechanism and never in clear text. A rejected login
//! never fails mail.

mod world;

use std::path::Path;

use relay_remote::{Route, RouteCredentials, RouteTls, SecretSource};
use relay_smtp::Stage;
use relay_testkit::{Certificate, FakeMx, ScriptStep};
use world::{USER, World, ip, job, verdict};

/// A smarthost that offers these mechanisms to a user with this password or token.
async fn smarthost(mechanisms: &str, secret: &str) -> FakeMx {
    let mx = FakeMx::start().await;
    mx.offer(&["PIPELINING", mechanisms]);
    mx.login(USER, secret);
    mx
}

fn logins(mx: &FakeMx) -> Vec<String> {
    let commands = mx.commands().into_iter();
    commands.filter(|c| c.starts_with("AUTH")).collect()
}

/// A program that counts its runs in a file and prints `secret` with their number.
fn counting(file: &Path) -> Vec<String> {
    let script = r#"echo x >> "$0"; echo secret$(wc -l < "$0" | tr -d ' ')"#;
    let file = file.to_str().expect("a path in UTF-8");
    ["sh", "-c", script, file].map(String::from).into()
}

fn runs(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn the_strongest_offered_mechanism_is_used() {
    for (offered, used) in [
        ("AUTH LOGIN PLAIN SCRAM-SHA-256", "SCRAM-SHA-256"),
        ("AUTH LOGIN PLAIN CRAM-MD5", "PLAIN"),
        ("AUTH=LOGIN", "LOGIN"),
    ] {
        let mx = smarthost(offered, "hunter2").await;
        let world = World::with_password(&mx, "hunter2\n").await;
        assert_eq!(
            verdict(&world.outcome().await),
            "delivered 2.0.0",
            "{offered}"
        );
        let message = mx.messages().remove(0);
        assert_eq!(message.mechanism.as_deref(), Some(used));
        assert!(message.tls);
    }
}

#[tokio::test]
async fn a_token_is_only_sent_with_a_mechanism_for_tokens() {
    for (offered, used) in [
        ("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER", Some("XOAUTH2")),
        ("AUTH PLAIN OAUTHBEARER", Some("OAUTHBEARER")),
        ("AUTH PLAIN LOGIN SCRAM-SHA-256", None),
    ] {
        let mx = smarthost(offered, "tok123").await;
        let argv = ["printf", "%s", "tok123"].map(String::from).into();
        let lifetime = None;
        let mut world = World::with_verified_route(&mx).await;
        world.log_in(SecretSource::TokenCommand { argv, lifetime });
        let outcome = world.outcome().await;
        let expected = used.map_or("deferred 4.7.4", |_| "delivered 2.0.0");
        assert_eq!(verdict(&outcome), expected, "{offered}");
        let mechanism = mx.messages().first().and_then(|m| m.mechanism.clone());
        assert_eq!(mechanism.as_deref(), used);
        assert_eq!(logins(&mx).len(), usize::from(used.is_some()));
    }
}

#[tokio::test]
async fn a_password_is_not_sent_with_a_mechanism_for_tokens() {
    let mx = smarthost("AUTH XOAUTH2 OAUTHBEARER", "hunter2").await;
    let world = World::with_password(&mx, "hunter2").await;
    let outcome = world.outcome().await;
    assert_eq!(verdict(&outcome), "deferred 4.7.4");
    assert!(outcome.text().contains("XOAUTH2"), "{}", outcome.text());
    assert_eq!((outcome.stage, logins(&mx).len()), (Stage::Auth, 0));
    assert_eq!(world.alarms().len(), 1);
}

#[tokio::test]
async fn credentials_are_never_sent_in_clear_text() {
    for starttls in ["502 5.5.1 what", "454 4.7.0 not now"] {
        let mx = smarthost("AUTH PLAIN LOGIN", "hunter2").await;
        let mut world = World::with_route(&mx, RouteTls::Opportunistic).await;
        let source = world.password("hunter2");
        world.log_in(source);
        assert_eq!(verdict(&world.outcome().await), "deferred 4.7.4");
        mx.offer_tls(&Certificate::for_names(&["smart.test"]));
        mx.on("starttls", starttls);
        assert_eq!(world.outcome().await.stage, Stage::Tls);
        mx.on("starttls", ScriptStep::from("220 go"));
        let outcome = world.outcome().await;
        assert_eq!(
            verdict(&outcome),
            "deferred 4.7.5",
            "an unknown certificate"
        );
        assert_eq!((logins(&mx).len(), mx.messages().len()), (0, 0));
    }
}

#[tokio::test]
async fn only_loopback_gets_credentials_in_clear_text() {
    let mx = smarthost("AUTH PLAIN", "hunter2").await;
    let mut world = World::with_smarthost(mx.address()).await;
    let source = world.password("hunter2");
    let credentials = RouteCredentials::new(USER, source).expect("credentials");
    world.reconfigure(|c| {
        let route = Route::new("*", ["127.0.0.1"], mx.address().port()).expect("a route");
        let route = route.with_tls(RouteTls::None, Some(credentials));
        c.routes = vec![route.expect("a route")];
    });
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert_eq!(mx.messages()[0].mechanism.as_deref(), Some("PLAIN"));
}

#[tokio::test]
async fn rejected_credentials_defer_and_raise_an_alarm_until_they_are_accepted() {
    let mx = smarthost("AUTH PLAIN LOGIN", "right").await;
    let world = World::with_password(&mx, "wrong").await;
    let outcomes = world.deliver(job(&["a@one.test", "b@two.test"])).await;
    for outcome in &outcomes {
        assert_eq!(verdict(outcome), "deferred 4.7.8");
        assert_eq!(outcome.stage, Stage::Auth);
        assert!(!outcome.text().contains("wrong"), "{}", outcome.text());
    }
    assert_eq!(
        logins(&mx).len(),
        1,
        "no second try with a weaker mechanism"
    );
    let alarms = world.alarms();
    assert_eq!(alarms.len(), 1);
    let port = mx.address().port();
    assert_eq!(*alarms[0].destination, format!("{USER}@smart.test:{port}"));
    assert!(alarms[0].text.contains("535 5.7.8"), "{}", alarms[0].text);
    world.password("right");
    assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
    assert!(world.alarms().is_empty());
}

#[tokio::test]
async fn an_alarm_disappears_with_its_route() {
    let mx = smarthost("AUTH PLAIN", "right").await;
    let mut world = World::with_verified_route(&mx).await;
    world.log_in(SecretSource::PasswordFile("/no/such/file".into()));
    assert_eq!(verdict(&world.outcome().await), "deferred 4.3.5");
    assert!(
        world.alarms()[0]
            .text
            .contains("password_file /no/such/file")
    );
    world.reconfigure(|c| c.routes.clear());
    assert!(world.alarms().is_empty());
}

#[tokio::test]
async fn a_host_that_wants_credentials_after_the_login_never_fails_mail() {
    for (stage, reply) in [
        ("auth", "535 5.7.8 no"),
        ("auth", "530 5.7.0 no"),
        ("auth", "534 5.7.9 stronger"),
        ("auth", "454 4.7.0 later"),
        ("auth", "550 5.7.1 blocked"),
        ("mail", "530 5.7.0 Authentication required"),
        ("mail", "535 5.7.8 no"),
        ("rcpt", "530 5.7.0 Authentication required"),
        ("dot", "530 5.7.0 Authentication required"),
    ] {
        let mx = smarthost("AUTH PLAIN", "hunter2").await;
        let world = World::with_password(&mx, "hunter2").await;
        mx.on(stage, reply);
        let outcome = world.outcome().await;
        assert!(
            verdict(&outcome).starts_with("deferred 4.7."),
            "{stage} {reply}: {outcome:?}"
        );
        assert_eq!(world.alarms().len(), 1, "{stage} {reply}");
    }
}

#[tokio::test]
async fn a_programs_output_is_used_until_it_is_rejected_and_then_read_once_more() {
    for (mechanisms, is_token) in [("AUTH PLAIN", false), ("AUTH XOAUTH2", true)] {
        let mx = smarthost(mechanisms, "secret1").await;
        let mut world = World::with_verified_route(&mx).await;
        let file = world.file("runs", "");
        let argv = counting(&file);
        let lifetime = None;
        world.log_in(if is_token {
            SecretSource::TokenCommand { argv, lifetime }
        } else {
            SecretSource::PasswordCommand(argv)
        });
        mx.on("dot", ScriptStep::SayAndDrop("250 ok".to_owned()));
        for _ in 0..3 {
            assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
            mx.wait("end of the connection", |mx| mx.open_connections() == 0)
                .await;
        }
        assert_eq!((runs(&file), logins(&mx).len()), (1, 3));
        // The cached secret is rejected and the new one accepted, so no mail is delayed.
        mx.login(USER, "secret2");
        assert_eq!(verdict(&world.outcome().await), "delivered 2.0.0");
        mx.wait("end of the connection", |mx| mx.open_connections() == 0)
            .await;
        assert_eq!((runs(&file), logins(&mx).len()), (2, 5));
        assert!(world.alarms().is_empty());
        // If the new one is rejected as well, there is no third try.
        mx.login(USER, "another");
        assert_eq!(verdict(&world.outcome().await), "deferred 4.7.8");
        assert_eq!((runs(&file), logins(&mx).len()), (3, 7));
        assert_eq!(world.alarms().len(), 1);
    }
}

#[tokio::test]
async fn a_connection_is_not_shared_with_another_user() {
    let mx = FakeMx::start().await;
    mx.offer(&["PIPELINING", "AUTH PLAIN"]);
    let mut world = World::with_verified_route(&mx).await;
    let port = mx.address().port();
    let source = world.password("hunter2");
    let route = |sender: &str, user: &str| {
        let route = Route::new("*", ["smart.test"], port).expect("a route");
        let credentials = RouteCredentials::new(user, source.clone()).expect("credentials");
        let route = route.with_tls(RouteTls::Require, Some(credentials));
        let route = route.expect("a route");
        route.with_sender(sender.parse().expect("a pattern"))
    };
    let routes = vec![route("*@shop.test", "shop"), route("*@news.test", "news")];
    world.reconfigure(|c| c.routes = routes);
    for sender in ["a@shop.test", "b@news.test", "c@shop.test", "d@news.test"] {
        let mut job = job(&["u@dest.test"]);
        job.sender = sender.parse().expect("a sender");
        assert_eq!(verdict(&world.deliver(job).await[0]), "delivered 2.0.0");
    }
    let over: Vec<_> = mx.messages().iter().map(|m| m.connection).collect();
    assert_eq!(over, [1, 2, 1, 2]);
    assert_eq!(logins(&mx).len(), 2);
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_cannot_check_passwords_but_not_when_it_rejects_one() {
    for (reply, is_failed_over) in [("454 4.7.0 later", true), ("535 5.7.8 no", false)] {
        let [first, second] = FakeMx::start_on(["127.0.0.2", "127.0.0.3"].map(ip)).await;
        let certificate = Certificate::for_names(&["a.smart.test", "b.smart.test"]);
        for mx in [&first, &second] {
            mx.offer_tls(&certificate);
            mx.offer(&["AUTH PLAIN"]);
        }
        first.on("auth", reply);
        let mut world = World::new(1).await;
        world.trust(&certificate);
        world.dns.set("a.smart.test", "A", &["127.0.0.2"]);
        world.dns.set("b.smart.test", "A", &["127.0.0.3"]);
        let port = first.address().port();
        let route = Route::new("*", ["a.smart.test", "b.smart.test"], port).expect("a route");
        let route = route.with_tls(RouteTls::Require, None).expect("a route");
        world.reconfigure(|c| c.routes = vec![route]);
        let source = world.password("hunter2");
        world.log_in(source);
        let outcome = world.outcome().await;
        assert_eq!(
            verdict(&outcome) == "delivered 2.0.0",
            is_failed_over,
            "{reply}"
        );
        assert_eq!(second.connections(), usize::from(is_failed_over));
    }
}
