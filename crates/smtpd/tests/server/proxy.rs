//! The PROXY protocol: which proxies are trusted, and the consequences.

use std::net::Ipv4Addr;

use relay_queue::MemoryStore;
use relay_smtpd::{Role, ServerConfig, TlsSettings};
use tokio::io::AsyncWriteExt as _;

use crate::accounts::{Accounts, How};
use crate::log::Log;
use crate::under_tls::{Dialect, tls};
use crate::world::{Client, EXTERNAL, FRIEND, World, config, content, start_behind};

/// The proxy itself may relay. Its clients must not get that permission.
const PROXY: Ipv4Addr = FRIEND;

fn config_with_clients() -> ServerConfig {
    let mut config = config();
    for network in ["192.0.2.1/32", "2001:db8::/32"] {
        config.relay.networks.push(network.parse().expect(network));
    }
    config
}

fn world(config: ServerConfig) -> World<MemoryStore> {
    start_behind(MemoryStore::new(), config, Some(PROXY))
}

fn v1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let to = if client.contains(':') {
        "::1"
    } else {
        "127.0.0.1"
    };
    format!("PROXY {family} {client} {to} 56324 25\r\n").into_bytes()
}

fn v2(client: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client.octets());
    header.extend([127, 0, 0, 1, 0xdc, 4, 0, 25]);
    header
}

async fn through(world: &World<MemoryStore>, header: &[u8]) -> Client {
    let mut client = world.connect(PROXY).await;
    client.send(header).await;
    client.greet().await;
    client
}

#[tokio::test]
async fn the_client_of_a_proxy_is_checked_traced_and_logged_by_its_own_address() {
    let world = world(config_with_clients());
    let log = Log::kept();
    for (header, literal, may_relay) in [
        (v1("192.0.2.1"), "([192.0.2.1])", true),
        (v1("::ffff:192.0.2.1"), "([192.0.2.1])", true),
        (v1("2001:db8::7"), "([IPv6:2001:db8::7])", true),
        (v2(Ipv4Addr::new(192, 0, 2, 1)), "([192.0.2.1])", true),
        (v1("192.0.2.2"), "([192.0.2.2])", false),
        (v2(Ipv4Addr::new(192, 0, 2, 2)), "([192.0.2.2])", false),
        // A client that the proxy cannot name does not count as the proxy.
        (b"PROXY UNKNOWN\r\n".to_vec(), "([127.0.0.1])", false),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
            "([127.0.0.1])",
            false,
        ),
    ] {
        let mut client = through(&world, &header).await;
        client.expect("MAIL FROM:<a@b.test>", "250").await;
        let reply = if may_relay { "250" } else { "553" };
        client.expect("RCPT TO:<user@dest.test>", reply).await;
        client.expect("RCPT TO:<user@local.test>", "250").await;
        client.expect("DATA", "354").await;
        client.expect("Subject: t\r\n\r\nhello\r\n.", "250").await;
        let (head, _) = content(&*world.store, &world.last()).await;
        assert!(head.contains(literal), "{literal} {head}");
    }
    log.has(&["refused RCPT", "client=192.0.2.2 "]).await;
    log.has(&["info msg", "client=2001:db8::7 "]).await;
    world.stopped().await;
}

#[tokio::test]
async fn a_proxy_header_from_another_client_is_an_unknown_command() {
    let world = world(config_with_clients());
    for header in [v1("192.0.2.1"), v2(Ipv4Addr::new(192, 0, 2, 1))] {
        let mut client = world.connect(EXTERNAL).await;
        assert!(client.reply().await.starts_with("220"));
        client.send(&header).await;
        assert!(client.reply().await.starts_with("500"));
        let mut client = world.greeted(EXTERNAL).await;
        client.send(&v1("192.0.2.1")).await;
        assert!(client.reply().await.starts_with("500"));
        client.expect("MAIL FROM:<a@b.test>", "250").await;
        client.expect("RCPT TO:<user@dest.test>", "553").await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_proxy_that_does_not_begin_with_a_header_gets_no_reply() {
    let world = world(config_with_clients());
    let log = Log::kept();
    for beginning in [
        &b"EHLO client.test\r\n"[..],
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
        b"\x16\x03\x01\x02\0",
    ] {
        let mut client = world.connect(PROXY).await;
        client.send(beginning).await;
        assert_eq!(client.reply().await, "", "{beginning:?}");
        log.has(&["proxy [127.0.0.1] did not begin"]).await;
    }
    // One proxy closes the connection within the header, and one sends nothing.
    for beginning in [&b"PROXY TCP4 192."[..], b""] {
        let mut client = world.connect(PROXY).await;
        client.send(beginning).await;
        client.0.get_mut().shutdown().await.expect("a connection");
        assert_eq!(client.reply().await, "", "{beginning:?}");
    }
    through(&world, &v1("192.0.2.1")).await;
    world.stopped().await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_together_with_commands() {
    let world = world(config_with_clients());
    let header = v1("192.0.2.1");
    for cut in [1, 6, header.len() - 1] {
        let mut client = world.connect(PROXY).await;
        let (first, second) = header.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client
            .send(&[second, b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n"].concat())
            .await;
        assert!(client.reply().await.starts_with("220"));
        assert!(client.reply().await.starts_with("250-relay.test"));
        assert!(client.reply().await.starts_with("250 2.1.0"));
        client.expect("RCPT TO:<user@dest.test>", "250").await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn tls_may_begin_right_after_the_header() {
    let accounts = Accounts::with("app", "s3cret");
    let with_tls = ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        users: Some(accounts),
        ..config_with_clients()
    };
    let world = world(with_tls);
    let log = Log::kept();
    let mut client = world.connect_to(Role::Submissions, PROXY).await;
    client.send(&v2(Ipv4Addr::new(192, 0, 2, 2))).await;
    let dialect = Dialect::default();
    let secured = dialect
        .shake_hands("relay.test", client.0.into_inner())
        .await;
    let mut client = secured.expect("TLS");
    client.greet().await;
    client.expect("MAIL FROM:<a@b.test>", "530").await;
    let reply = client.log_in(How::Plain, "app", "s3cret").await;
    assert!(reply.starts_with("235"), "{reply}");
    log.has(&["tls from [192.0.2.2]: TLSv1.3"]).await;
    log.has(&["auth ok: app from [192.0.2.2] by PLAIN"]).await;
    world.stopped().await;
}

#[tokio::test]
async fn clients_of_a_proxy_have_their_own_slots() {
    let mut few = config_with_clients();
    few.limits.connections_per_client = 1;
    let world = world(few);
    let _first = through(&world, &v1("192.0.2.1")).await;
    let _other = through(&world, &v1("192.0.2.2")).await;
    let mut second = world.connect(PROXY).await;
    second.send(&v1("192.0.2.1")).await;
    let refused = second.reply().await;
    assert!(refused.starts_with("421 4.7.0"), "{refused}");
    world.stopped().await;
}
