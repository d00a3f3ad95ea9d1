use std::time::Duration;

use bytes::Bytes;
use relay_message::{Body, Content};
use relay_smtp::client::{Answer, Envelope};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Peer, Recipient, Stage};
use relay_testkit::DEADLINE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Connection, Connector, TransactionError};
use crate::classify::{Cause, DuplicateRisk};
use crate::config::Config;
use crate::policy::{Destination, TlsRule};
use crate::pool_key::PoolKey;
use crate::tls::Trust;

/// More octets than all buffers between the two ends can hold.
const LARGE: usize = 32_000_000;

/// Returns a connection that is ready for a transaction, and the peer's end of it.
async fn connected() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let peer = Peer {
        host: "mx.test".to_owned(),
        address: listener.local_addr().expect("an address"),
        tls: None,
    };
    let (config, trust) = (Config::default(), Trust::new(None));
    let accept = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let said = stream.write_all(b"220 mx.test\r\n250 mx.test\r\n").await;
        said.expect("written");
        stream
    };
    let destination = Destination::Exchanger {
        domain: "dest.test",
        host: "mx.test",
    };
    let connector = Connector {
        peer,
        config: &config,
        trust: &trust,
        rule: TlsRule::Opportunistic,
        pool_key: PoolKey::new(destination, TlsRule::Opportunistic),
        credentials: None,
    };
    let (connection, stream) = tokio::join!(connector.open(), accept);
    (connection.expect("past EHLO"), stream)
}

/// Sends a large message to `u@dest.test`.
async fn send_large(connection: &mut Connection) -> Result<Vec<Answer>, TransactionError> {
    let recipient: ForwardPath = "u@dest.test".parse().expect("a path");
    let recipient = Recipient::from(recipient);
    let envelope = Envelope {
        sender: &"a@sender.test".parse().expect("a path"),
        recipients: &[&recipient],
        size: LARGE as u64,
        eight_bit: false,
        utf8: false,
        dsn: &DsnRequest::default(),
    };
    let content = Content {
        head: Bytes::new(),
        body: Body::Inline(vec![b'x'; LARGE].into()),
    };
    let sent = timeout(DEADLINE, connection.transact(&envelope, &content)).await;
    sent.expect("a result in time")
}

/// Answers the commands up to DATA and reads the first octet of the message.
async fn ask_for_the_message(stream: &mut TcpStream) {
    let said = stream.write_all(b"250 ok\r\n250 ok\r\n354 go\r\n").await;
    said.expect("written");
    while stream.read_u8().await.expect("an octet") != b'x' {}
}

#[tokio::test]
async fn a_reply_during_the_message_counts_if_the_peer_reads_no_more() {
    for said in ["552 5.3.4 too much", "452 4.3.1 no room"] {
        let (mut connection, mut stream) = connected().await;
        let peer = async {
            ask_for_the_message(&mut stream).await;
            let said = stream.write_all(format!("{said}\r\n").as_bytes()).await;
            said.expect("written");
        };
        let (sent, ()) = tokio::join!(send_large(&mut connection), peer);
        let answers = sent.expect("answers");
        let [Answer::Refused(Stage::Message, reply)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(reply.to_string(), said);
        assert!(!connection.is_idle());
    }
}

#[tokio::test]
async fn a_silent_peer_that_reads_no_more_runs_into_the_time_limit() {
    let (mut connection, mut stream) = connected().await;
    connection.command_timeout = Duration::from_millis(300);
    let peer = ask_for_the_message(&mut stream);
    let (sent, ()) = tokio::join!(send_large(&mut connection), peer);
    let cause = sent.expect_err("no answer").cause;
    assert!(
        matches!(cause, Cause::TimedOut(Stage::Message, DuplicateRisk::None)),
        "{cause:?}"
    );
}

#[tokio::test]
async fn a_large_message_may_take_longer_than_a_command_while_it_makes_progress() {
    let (mut connection, mut stream) = connected().await;
    connection.command_timeout = Duration::from_secs(1);
    let peer = async {
        ask_for_the_message(&mut stream).await;
        let (mut buffer, mut taken) = (vec![0; 1 << 20], 1);
        while taken < LARGE + b"\r\n.\r\n".len() {
            tokio::time::sleep(Duration::from_millis(40)).await;
            taken += stream.read(&mut buffer).await.expect("octets");
        }
        stream.write_all(b"250 ok\r\n").await.expect("written");
    };
    let (sent, ()) = tokio::join!(send_large(&mut connection), peer);
    assert!(matches!(sent.expect("answers")[..], [Answer::Taken(_)]));
}

async fn until_not_quiet(connection: &Connection) {
    let noise = async {
        while connection.is_quiet() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, noise).await.expect("noise in time");
}

#[tokio::test]
async fn a_peer_that_sent_something_or_closed_the_connection_is_not_quiet() {
    let (connection, mut stream) = connected().await;
    assert!(connection.is_quiet() && connection.is_idle());
    stream
        .write_all(b"250 by the way\r\n")
        .await
        .expect("written");
    until_not_quiet(&connection).await;

    let (connection, stream) = connected().await;
    assert!(connection.is_quiet());
    drop(stream);
    until_not_quiet(&connection).await;
}
