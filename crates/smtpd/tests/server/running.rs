//! Listeners, limits and the shutdown of the server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use relay_message::QueueStore as _;
use relay_queue::MemoryStore;
use relay_smtp::server;
use relay_smtpd::{BindError, ListenerConfig, Role, Server};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{EXTERNAL, FRIEND, config, soon, start};

#[tokio::test]
async fn sessions_are_limited_per_client_and_in_total() {
    let mut few = config();
    few.limits.connections = 3;
    few.limits.connections_per_client = 2;
    let world = start(MemoryStore::new(), few);
    let first = world.greeted(FRIEND).await;
    let _second = world.greeted(FRIEND).await;
    let refused = world.connect(FRIEND).await.reply().await;
    assert!(
        refused.starts_with("421 4.7.0 sorry, too many connections from"),
        "{refused}"
    );
    let _third = world.greeted(EXTERNAL).await;
    let refused = world.connect(EXTERNAL).await.reply().await;
    assert!(
        refused.starts_with("421 4.7.0 sorry, too many connections are"),
        "{refused}"
    );
    drop(first);
    // The server notices the close only after some time.
    let greeted = async {
        while !world.connect(FRIEND).await.reply().await.starts_with("220") {
            tokio::task::yield_now().await;
        }
    };
    soon(greeted).await;
    world.stopped().await;
}

#[tokio::test]
async fn a_shutdown_ends_idle_sessions_and_waits_for_a_message() {
    let world = start(MemoryStore::new(), config());
    let mut idle = world.greeted(FRIEND).await;
    let mut busy = world.greeted(FRIEND).await;
    busy.begin("user@dest.test").await;
    busy.send(b"Subject: t\r\n\r\nhal").await;

    let address = world.address(Role::Mx);
    world.shutdown.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    assert_eq!(idle.reply().await, "");
    assert!(!world.running.is_finished());
    assert!(busy.command("f\r\n.").await.starts_with("250"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    soon(world.running).await.expect("a clean end");
    assert_eq!(world.store.count(), 1);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the port is closed"
    );
}

#[tokio::test]
async fn input_after_quit_does_not_cost_the_client_its_reply() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.connect(FRIEND).await;
    client
        .send(&[&b"QUIT\r\n"[..], &b"NOOP\r\n".repeat(20_000)].concat())
        .await;
    assert!(client.reply().await.starts_with("220"));
    assert!(client.reply().await.starts_with("221"));
    let end = soon(client.0.read_line(&mut String::new())).await;
    assert_eq!(end.expect("the end of the connection, no reset"), 0);
    drop(client);
    world.stopped().await;
}

#[tokio::test]
async fn a_client_that_floods_and_never_reads_is_disconnected() {
    let mut patient = config();
    patient.limits.session = server::SessionLimits {
        command_timeout: std::time::Duration::from_millis(200),
        ..server::SessionLimits::default()
    };
    let world = start(MemoryStore::new(), patient);
    let mut client = world.connect(FRIEND).await;
    // The client sends commands until the server ends the session.
    let flood = b"HELP\r\n".repeat(5_000);
    let flooded = async { while client.0.get_mut().write_all(&flood).await.is_ok() {} };
    soon(flooded).await;
    assert!(
        world
            .greeted(FRIEND)
            .await
            .command("NOOP")
            .await
            .starts_with("250")
    );
    world.stopped().await;
}

#[tokio::test]
async fn an_address_in_use_is_reported_with_the_reason() {
    let any = |port| ListenerConfig {
        address: SocketAddr::from((FRIEND, port)).into(),
        role: Role::Mx,
        proxies: Vec::new(),
    };
    let first = Server::bind(&[any(0)]).expect("a free port");
    let taken = any(port_of(&first));
    let error = Server::bind(std::slice::from_ref(&taken)).expect_err("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&taken.address.to_string()), "{text}");
    assert!(
        text.contains("in use") && text.contains("[[listener]]"),
        "{text}"
    );
}

fn port_of(server: &Server) -> u16 {
    let address = server.addresses()[0].tcp();
    address.expect("an address and a port").port()
}

fn listener(address: &str, port: u16) -> ListenerConfig {
    let address: IpAddr = address.parse().expect("an address");
    ListenerConfig {
        address: SocketAddr::from((address, port)).into(),
        role: Role::Mx,
        proxies: Vec::new(),
    }
}

/// Opens two sockets on a port that has just been closed. It tries again if another process took
/// the port.
fn bind_both(first: &str, second: &str) -> Result<Server, BindError> {
    let mut tried = (0..20).map(|_| {
        let free = Server::bind(&[listener("::", 0)]).expect("a free port");
        let port = port_of(&free);
        drop(free);
        Server::bind(&[listener(first, port), listener(second, port)])
    });
    let last = tried.next_back().expect("twenty");
    tried.find(Result::is_ok).unwrap_or(last)
}

#[tokio::test]
async fn both_wildcards_can_share_a_port() {
    let server = bind_both("::", "0.0.0.0").expect("each family has its own socket");
    assert_eq!(server.addresses().len(), 2);
}

#[tokio::test]
async fn a_single_ipv4_address_cannot_share_a_port_with_the_ipv6_wildcard() {
    for order in [("::", "127.0.0.1"), ("127.0.0.1", "::")] {
        let error = bind_both(order.0, order.1).expect_err("they overlap");
        assert!(error.to_string().contains("in use"), "{error}");
    }
}

#[tokio::test]
async fn the_ipv6_wildcard_accepts_ipv4_too() {
    let wildcard = ListenerConfig {
        address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into(),
        role: Role::Mx,
        proxies: Vec::new(),
    };
    let server = Server::bind(&[wildcard]).expect("a free port");
    let port = port_of(&server);
    let client = soon(TcpStream::connect((IpAddr::from(FRIEND), port))).await;
    assert!(client.is_ok());
}
