//! `relayd demo`: the whole relay on loopback, with a receiving server that plays the internet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use relay_queue::{
    Body, MemoryStore, Message, QueueId, QueueStore, RecipientChange, RecipientState, Settlement,
};
use relay_smtp::Mailbox;
use relay_smtpd::{Limits, ListenerConfig, RelayRules, Role, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LogFormat};
use crate::daemon::Daemon;
use crate::log::{Level, Log};

/// Where the relay listens if that port is free.
const PORT: u16 = 2525;
/// How long the demonstration's own message may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A message that came out of the other end.
struct Arrival {
    message: Message,
    text: Vec<u8>,
}

/// Shows one message's way, then stays up for the user's own client until a signal ends it.
pub async fn run() -> Result<ExitCode, String> {
    show().await.map_err(|e| format!("demo: {e:#}"))
}

async fn show() -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let log = Log::start(LogFormat::Text, Level::Warn, io::stderr())?;
    let dir = tempfile::tempdir().context("making a temporary state directory")?;
    let shutdown = CancellationToken::new();
    let (internet, mut arrivals) = start_internet(&shutdown)?;
    let daemon = Daemon::start(config(dir.path(), internet)?, None).await?;
    let Some(&(relay, _)) = daemon.listeners().first() else {
        bail!("no listener is open");
    };
    println!("A relay listens on {relay}, a server that plays the internet on {internet}.");
    println!("The queue is in {}.\n", dir.path().join("state").display());
    println!("A client submits a message:\n");
    submit(relay).await?;
    let first = timeout(PATIENCE, arrivals.recv()).await.ok().flatten();
    let first = first.context("the message did not come out of the other end")?;
    println!("\nThe relay queued it on disk, signed for it with that 250, and delivered it:\n");
    print_arrival(&first);
    print_invitation(relay, dir.path());
    loop {
        tokio::select! {
            Some(arrival) = arrivals.recv() => {
                println!("\nAnother message came out of the other end:\n");
                print_arrival(&arrival);
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    println!("\nThe demonstration ends; its queue is removed.");
    daemon.stop().await?;
    shutdown.cancel();
    log.flush();
    Ok(ExitCode::SUCCESS)
}

fn config(dir: &Path, internet: SocketAddr) -> anyhow::Result<Config> {
    let relay = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    // Asked before the relay binds it: whoever takes it in between makes the start fail, no more.
    let port = TcpListener::bind(relay).map_or(0, |_| PORT);
    let text = format!(
        r#"hostname = "relay.demo.test"
state_dir = {state:?}
[[listener]]
address = "127.0.0.1:{port}"
role = "mx"
[queue]
retry_unit = "5s"
min_free = "1MiB"
[[route]]
domain = "*"
host = ["127.0.0.1"]
port = {sink}
tls = "none"
[control]
socket = {socket:?}
"#,
        state = dir.join("state"),
        sink = internet.port(),
        socket = dir.join("control.sock"),
    );
    Ok(Config::parse(
        Path::new("the demonstration's configuration"),
        &text,
    )?)
}

/// A receiving server: it takes mail for any domain and hands it over.
fn start_internet(
    shutdown: &CancellationToken,
) -> anyhow::Result<(SocketAddr, mpsc::Receiver<Arrival>)> {
    let listener = ListenerConfig {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        role: Role::Mx,
    };
    let server = Server::bind(&[listener])?;
    let address = *server.addresses().first().context("no listener is open")?;
    let postmaster: Mailbox = "postmaster@internet.demo.test".parse()?;
    let config = relay_smtpd::Config {
        hostname: "internet.demo.test".into(),
        postmaster,
        relay: RelayRules {
            networks: vec!["127.0.0.0/8".parse()?],
            domains: Vec::new(),
            bad_senders: Vec::new(),
        },
        limits: Limits::default(),
    };
    let store = Arc::new(MemoryStore::new());
    let (taken, mut ids) = mpsc::unbounded_channel();
    let (arrivals, receiver) = mpsc::channel(16);
    let accepted = Arc::new(move |message: Message| {
        let _ = taken.send(message.id);
    });
    let (_config, config) = watch::channel(Arc::new(config));
    tokio::spawn(server.run(Arc::clone(&store), config, accepted, shutdown.clone()));
    tokio::spawn(async move {
        while let Some(id) = ids.recv().await {
            if let Ok(Some(arrival)) = take_out(&store, id).await
                && arrivals.send(arrival).await.is_err()
            {
                return;
            }
        }
    });
    Ok((address, receiver))
}

/// The message, which leaves the receiving server's memory.
async fn take_out(store: &MemoryStore, id: QueueId) -> anyhow::Result<Option<Arrival>> {
    let Some((claim, message)) = store.claim(id).await? else {
        return Ok(None);
    };
    let content = store.open(claim).await?;
    let mut text = content.head.to_vec();
    if let Body::Inline(body) = content.body {
        text.extend_from_slice(&body);
    }
    let done = |index| RecipientChange {
        index,
        state: RecipientState::Done,
        attempt: None,
    };
    let settlement = Settlement {
        recipients: (0..message.recipients.len()).map(done).collect(),
        bounces: Vec::new(),
    };
    store.settle(claim, settlement).await?;
    Ok(Some(Arrival { message, text }))
}

/// One message by hand, printed as it goes.
async fn submit(relay: SocketAddr) -> anyhow::Result<()> {
    const LINES: [&str; 6] = [
        "EHLO client.demo.test",
        "MAIL FROM:<you@example.org>",
        "RCPT TO:<friend@example.net>",
        "DATA",
        "From: You <you@example.org>\r\nTo: friend@example.net\r\nSubject: Hello\r\n\r\n\
         This went through a relay.\r\n.",
        "QUIT",
    ];
    let mut stream = BufReader::new(TcpStream::connect(relay).await?);
    print_reply(&mut stream).await?;
    for line in LINES {
        for part in line.split("\r\n") {
            println!("CLIENT -> SERVER: {part}");
        }
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        print_reply(&mut stream).await?;
    }
    Ok(())
}

/// Prints a whole reply; one that refuses ends the demonstration.
async fn print_reply(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        timeout(PATIENCE, stream.read_line(&mut line))
            .await
            .context("the relay is silent")??;
        println!("SERVER -> CLIENT: {}", line.trim_end());
        match line.as_bytes() {
            [b'2' | b'3', _, _, b' ', ..] => return Ok(()),
            [_, _, _, b'-', ..] => {}
            _ => bail!("the relay refused: {}", line.trim_end()),
        }
    }
}

fn print_arrival(arrival: &Arrival) {
    println!("    MAIL FROM:{}", arrival.message.sender);
    for recipient in &arrival.message.recipients {
        println!("    RCPT TO:{}", recipient.address);
    }
    println!();
    for line in String::from_utf8_lossy(&arrival.text).lines() {
        // What came by mail may hold anything; a terminal must not obey it.
        let plain = |c: char| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        };
        println!("    {}", line.chars().map(plain).collect::<String>());
    }
}

fn print_invitation(relay: SocketAddr, dir: &Path) {
    let socket = dir.join("control.sock");
    println!("\nNow try it yourself; what you send comes out here:\n");
    println!("    swaks --server {relay} --from you@example.org --to friend@example.net");
    println!("    relayctl --socket {} qstat", socket.display());
    println!("\nCtrl-C ends it.");
}
