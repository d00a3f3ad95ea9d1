//! A small internet on loopback for tests of deliveries.

// Each test binary uses a different part of this.
#![allow(dead_code)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relay_message::{Attempt, Body, Content, Deliver, QueueId};
use relay_remote::{
    Alarm, AsConfigured, Config, Preview, Remote, Route, RouteCredentials, RouteTls, SecretSource,
    TlsPolicy,
};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Outcome, Recipient, Verdict};
use relay_testkit::{Certificate, FakeDns, FakeMx};
use tempfile::TempDir;
use tokio::sync::watch;

/// The user that the relay logs in as.
pub const USER: &str = "relay@our.test";
pub const MESSAGE: &str = "Subject: t\r\n\r\nhello\r\n.dot\r\n";
const TRACE: &str = "Received: by relay.test\r\n";

/// Returns the octets that arrive when [`MESSAGE`] is sent.
pub fn wire() -> Vec<u8> {
    format!("{TRACE}{MESSAGE}").into_bytes()
}

pub struct World {
    pub dns: FakeDns,
    pub config: Config,
    sender: watch::Sender<Arc<Config>>,
    remote: Remote,
    files: TempDir,
}

impl World {
    /// Delivers to `port` of the hosts in the fake DNS.
    pub async fn new(port: u16) -> Self {
        Self::with_policy(port, Arc::new(AsConfigured)).await
    }

    /// Like [`World::new`] with this TLS policy.
    pub async fn with_policy(port: u16, policy: Arc<dyn TlsPolicy>) -> Self {
        let dns = FakeDns::start().await;
        let config = Config {
            hostname: "relay.test".to_owned(),
            port,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            refuse_addresses: Vec::new(),
            dns_servers: vec![dns.address()],
            ..Config::default()
        };
        let (sender, receiver) = watch::channel(Arc::new(config.clone()));
        Self {
            dns,
            config,
            sender,
            remote: Remote::with_policy(receiver, policy),
            files: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Has one MX host for dest.test at `mx`.
    pub async fn with_mx(mx: &FakeMx) -> Self {
        let world = Self::new(mx.address().port()).await;
        world.dns.set("dest.test", "MX", &["10 mx.dest.test"]);
        world
            .dns
            .set("mx.dest.test", "A", &[&mx.address().ip().to_string()]);
        world
    }

    /// Sends everything through a smarthost at this address.
    pub async fn with_smarthost(address: SocketAddr) -> Self {
        let mut world = Self::new(1).await;
        let host = address.ip().to_string();
        world.reconfigure(|config| config.routes = vec![route("*", &host, address.port())]);
        world
    }

    /// Sends everything through smart.test, which is this server, with this use of TLS.
    pub async fn with_route(mx: &FakeMx, tls: RouteTls) -> Self {
        let mut world = Self::new(1).await;
        world.dns.set("smart.test", "A", &["127.0.0.1"]);
        let route = route("*", "smart.test", mx.address().port());
        let route = route.with_tls(tls, None).expect("a route");
        world.reconfigure(|config| config.routes = vec![route]);
        world
    }

    /// Uses STARTTLS with a trusted certificate.
    pub async fn with_verified_route(mx: &FakeMx) -> Self {
        let certificate = Certificate::for_names(&["smart.test"]);
        mx.offer_tls(&certificate);
        let mut world = Self::with_route(mx, RouteTls::Require).await;
        world.trust(&certificate);
        world
    }

    /// Uses STARTTLS with a trusted certificate, and this password for [`USER`].
    pub async fn with_password(mx: &FakeMx, password: &str) -> Self {
        let mut world = Self::with_verified_route(mx).await;
        let source = world.password(password);
        world.log_in(source);
        world
    }

    /// Sets the credentials of the routes.
    pub fn log_in(&mut self, source: SecretSource) {
        let credentials = RouteCredentials::new(USER, source).expect("credentials");
        self.reconfigure(|config| {
            let routes = config.routes.drain(..);
            let with = routes.map(|r| {
                let tls = r.tls();
                r.with_tls(tls, Some(credentials.clone())).expect("a route")
            });
            config.routes = with.collect();
        });
    }

    /// Trusts these certificates beside the system's.
    pub fn trust(&mut self, certificate: &Certificate) {
        let file = self.file("ca.pem", &certificate.pem());
        self.reconfigure(|config| config.ca_file = Some(file));
    }

    /// Writes a file with this content.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.files.path().join(name);
        std::fs::write(&file, text).expect("written");
        file
    }

    /// Writes a file with this password.
    pub fn password(&self, password: &str) -> SecretSource {
        SecretSource::PasswordFile(self.file("password", password))
    }

    pub async fn close(&self) {
        self.remote.close().await;
    }

    pub fn alarms(&self) -> Vec<Alarm> {
        self.remote.alarms()
    }

    pub async fn preview(&self, sender: &str, recipient: &str) -> Preview {
        let sender = sender.parse().expect("a sender");
        let recipient = recipient.parse().expect("a recipient");
        self.remote.preview(&sender, &recipient).await
    }

    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.sender.send_replace(Arc::new(self.config.clone()));
    }

    pub fn destination(&self, recipient: &str) -> String {
        let (sender, recipient) = (job(&[]).sender, recipient.parse().expect("a path"));
        self.remote.destination(&sender, &recipient).0.to_string()
    }

    pub async fn deliver(&self, job: Attempt) -> Vec<Outcome> {
        let count = job.recipients.len();
        let outcomes = tokio::time::timeout(Duration::from_mins(1), self.remote.deliver(job));
        let outcomes = outcomes.await.expect("an end");
        assert_eq!(outcomes.len(), count);
        outcomes
    }

    /// Sends [`MESSAGE`] to these recipients and returns the verdict and status of each.
    pub async fn send(&self, recipients: &[&str]) -> Vec<String> {
        let outcomes = self.deliver(job(recipients)).await;
        outcomes.iter().map(verdict).collect()
    }

    /// Sends [`MESSAGE`] to `u@dest.test`.
    pub async fn outcome(&self) -> Outcome {
        self.deliver(job(&["u@dest.test"])).await.remove(0)
    }
}

pub fn route(domain: &str, host: &str, port: u16) -> Route {
    Route::new(domain, [host], port).expect("a route")
}

pub fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// The verdict and status of an outcome: `failed 5.1.1`.
pub fn verdict(outcome: &Outcome) -> String {
    let verdict = match outcome.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Deferred => "deferred",
        Verdict::Failed => "failed",
    };
    format!("{verdict} {}", outcome.status)
}

pub fn job(recipients: &[&str]) -> Attempt {
    job_with(
        recipients,
        Body::Inline(Bytes::from_static(MESSAGE.as_bytes())),
        MESSAGE.len(),
    )
}

pub fn job_with(recipients: &[&str], body: Body, length: usize) -> Attempt {
    Attempt {
        id: QueueId::from_bits(1),
        delivery: 1,
        sender: "a@sender.test".parse().expect("a path"),
        recipients: recipients
            .iter()
            .map(|r| Recipient::from(r.parse::<ForwardPath>().expect("a path")))
            .collect(),
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
        size: (TRACE.len() + length) as u64,
        content: Content {
            head: Bytes::from_static(TRACE.as_bytes()),
            body,
        },
        progress: Arc::new(()),
    }
}
