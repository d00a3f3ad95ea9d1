//! Where mail would go, shown without sending any.

mod world;

use relay_remote::{DecidedBy, Preview, Route, RouteTls, SecretSource, TlsRule};
use relay_testkit::FakeMx;
use world::{USER, World, route};

/// Each host with its preference, its addresses and its problem.
fn hosts(preview: &Preview) -> Vec<String> {
    let described = preview.hosts.iter().map(|host| {
        let preference = host.preference.map(|p| format!("{p} "));
        let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
        let problem = host.problem.as_deref().unwrap_or_default();
        let what = [addresses.join(","), problem.to_owned()].concat();
        format!("{}{}: {what}", preference.unwrap_or_default(), host.name)
    });
    described.collect()
}

#[tokio::test]
async fn a_domains_exchangers_are_shown_by_preference() {
    let mut world = World::new(2525).await;
    world.dns.set(
        "dest.test",
        "MX",
        &["20 b.test", "10 a.test", "30 gone.test"],
    );
    world.dns.set("a.test", "A", &["192.0.2.1"]);
    world.dns.set("b.test", "AAAA", &["2001:db8::2"]);
    let preview = world.preview("a@sender.test", "u@Dest.test").await;
    assert_eq!(preview.by, DecidedBy::Mx("dest.test".to_owned()));
    assert_eq!(
        (&*preview.destination, &preview.problem),
        ("dest.test", &None)
    );
    assert_eq!(
        hosts(&preview),
        [
            "10 a.test: 192.0.2.1:2525",
            "20 b.test: [2001:db8::2]:2525",
            "30 gone.test: gone.test has no usable address"
        ]
    );
    assert!(
        preview
            .hosts
            .iter()
            .all(|h| h.tls == TlsRule::Opportunistic)
    );
    world.reconfigure(|c| c.refuse_addresses = vec!["192.0.2.0/24".parse().expect("a net")]);
    let preview = world.preview("a@sender.test", "u@dest.test").await;
    assert!(hosts(&preview)[0].contains("delivery.refuse_addresses"));
}

#[tokio::test]
async fn problems_are_shown() {
    let world = World::new(25).await;
    world.dns.set("null.test", "MX", &["0 ."]);
    world.dns.set("us.test", "MX", &["10 relay.test"]);
    for (recipient, expected) in [
        ("u@null.test", "null.test accepts no mail (null MX)"),
        ("u@gone.test", "the domain gone.test does not exist"),
    ] {
        let preview = world.preview("", recipient).await;
        assert_eq!(preview.problem.as_deref(), Some(expected));
        assert!(preview.hosts.is_empty());
    }
    let preview = world.preview("", "u@us.test").await;
    assert_eq!(
        hosts(&preview),
        ["10 relay.test: mail for us.test would come back to this relay"]
    );
}

#[tokio::test]
async fn an_address_literal_is_shown_as_its_own_host() {
    let world = World::new(25).await;
    let preview = world.preview("", "u@[192.0.2.7]").await;
    assert_eq!(preview.by, DecidedBy::Literal(world::ip("192.0.2.7")));
    assert_eq!(hosts(&preview), ["192.0.2.7: 192.0.2.7:25"]);
    assert!(world.dns.asked().is_empty());
}

#[tokio::test]
async fn a_senders_route_is_shown_with_its_hosts_and_user_without_running_its_command() {
    let mut world = World::new(25).await;
    world.dns.set("smart.test", "A", &["192.0.2.1"]);
    let shop = Route::new("*", ["smart.test", "192.0.2.2"], 465).expect("a route");
    let shop = shop.with_sender("*@shop.test".parse().expect("a pattern"));
    world.reconfigure(|c| {
        c.routes = vec![shop.with_tls(RouteTls::Implicit, None).expect("a route")];
    });
    let marker = world.file("marker", "");
    world.log_in(SecretSource::TokenCommand {
        argv: vec!["rm".to_owned(), marker.display().to_string()],
        lifetime: None,
    });
    world.reconfigure(|c| c.routes.push(route("*", "last.test", 25)));
    let preview = world.preview("news@shop.test", "u@dest.test").await;
    assert_eq!(preview.by, DecidedBy::Route(world.config.routes[0].clone()));
    assert_eq!(
        *preview.destination,
        format!("{USER}@smart.test,192.0.2.2:465")
    );
    assert_eq!(
        hosts(&preview),
        ["smart.test: 192.0.2.1:465", "192.0.2.2: 192.0.2.2:465"]
    );
    let tls: Vec<_> = preview.hosts.iter().map(|h| h.tls).collect();
    assert_eq!(tls, [TlsRule::VerifiedFromTheStart; 2]);
    let credentials = preview.credentials.expect("credentials");
    assert_eq!(credentials.username().as_str(), USER);
    assert_eq!(credentials.source().kind(), "token");
    assert!(marker.exists(), "a preview asks for no token");
    let preview = world.preview("a@other.test", "u@dest.test").await;
    assert_eq!(*preview.destination, *"last.test:25");
    assert!(hosts(&preview)[0].starts_with("last.test: the domain"));
    assert!(preview.credentials.is_none());
}

#[tokio::test]
async fn the_result_is_the_same_without_a_daemon() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    let (from, to) = ("a@sender.test", "u@dest.test");
    let sender = from.parse().expect("a sender");
    let recipient = to.parse().expect("a recipient");
    let alone = relay_remote::preview(&world.config, &sender, &recipient).await;
    assert_eq!(alone, world.preview(from, to).await);
    assert_eq!((alone.hosts.len(), mx.connections()), (1, 0));
}
