//! Handshakes that take too long.

use super::*;
use crate::tls::{CertificatePair, TlsServer, TlsSettings};

fn config_with_tls() -> Arc<ServerConfig> {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]);
    let rcgen::CertifiedKey { cert, signing_key } = made.expect("a certificate");
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let pair = CertificatePair {
        certificate: file("cert.pem", cert.pem()),
        key: file("key.pem", signing_key.serialize_pem()),
    };
    let server = TlsServer::new(&[pair], TlsSettings::default());
    Arc::new(ServerConfig {
        tls: Some(Arc::new(server.expect("a good pair"))),
        ..config()
    })
}

fn client_with(role: Role) -> Client {
    Client {
        id: ClientId::Address([192, 0, 2, 1].into()),
        address_known: true,
        role,
    }
}

/// Waits for the end of the connection. The client sends one octet each second, as long as it has
/// any.
async fn seconds_to_the_end(client: &mut DuplexStream, octets: &[u8]) -> u64 {
    let begin = clock::now();
    let mut octets = octets.iter();
    let mut said = [0];
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                assert!(matches!(read, Ok(0)), "the server sends nothing: {read:?}");
                return begin.elapsed().as_secs();
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if let Some(octet) = octets.next() {
                    client.write_all(&[*octet]).await.expect("room in the pipe");
                }
            }
        }
    }
}

/// The beginning of a TLS record that could contain a `ClientHello`.
fn hello() -> Vec<u8> {
    let mut record = b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03".to_vec();
    record.resize(200, 0);
    record
}

#[tokio::test(start_paused = true)]
async fn an_implicit_tls_handshake_times_out_after_half_a_minute() {
    let config = config_with_tls();
    for octets in [Vec::new(), hello()] {
        let (mut client, pipe) = duplex(1024);
        let peer = client_with(Role::Submissions);
        let secured = Connection::secured(shared(), Arc::clone(&config), peer, pipe);
        let session = tokio::spawn(async { assert!(secured.await.is_none()) });
        assert_eq!(seconds_to_the_end(&mut client, &octets).await, 30);
        session.await.expect("no session");
    }
}

#[tokio::test(start_paused = true)]
async fn a_starttls_handshake_times_out_after_half_a_minute() {
    let config = config_with_tls();
    for octets in [Vec::new(), hello()] {
        let peer = client_with(Role::Mx);
        let mut world = session(shared(), Arc::clone(&config), peer, Channel::Clear);
        world.send(b"EHLO c.test\r\nSTARTTLS\r\n").await;
        for start in ["220 relay.test", "250-relay.test"] {
            let write = world.write().await.expect("a write");
            assert!(write.starts_with(start), "{write}");
        }
        let mut replies = [0; 1024];
        let told = world.client.read(&mut replies).await.expect("replies");
        assert!(replies[..told].ends_with(b"220 2.0.0 ready for TLS\r\n"));
        assert_eq!(seconds_to_the_end(&mut world.client, &octets).await, 30);
        world.session.await.expect("a clean end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_handshake() {
    let (mut client, pipe) = duplex(1024);
    let shared = shared();
    shared.stopping.cancel();
    let peer = client_with(Role::Submissions);
    let secured = Connection::secured(shared, config_with_tls(), peer, pipe);
    assert!(secured.await.is_none());
    assert_eq!(seconds_to_the_end(&mut client, &[]).await, 0);
}
