//! Measures the cost of logins, and the effect of a flood of wrong passwords on other clients.
//!
//! `cargo bench -p relay-smtpd --bench logins` prints a line for each figure. The server and the
//! clients share the machine, but only the processor time of the server's threads is counted.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, io};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use relay_queue::MemoryStore;
use relay_smtp::sasl::scram::ScramVerifier;
use relay_smtp::sasl::{Secret, base64};
use relay_smtpd::{Limits, Role, ServerConfig, TlsSettings, User, Users};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use under_tls::{Dialect, tls};
use world::{EXTERNAL, FRIEND, World, config, start};

#[path = "../tests/server/under_tls.rs"]
mod under_tls;
#[path = "../tests/server/world.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod world;

/// How many logins are measured, and how many run at a time.
const LOGINS: u32 = 4000;
const AT_A_TIME: u32 = 8;
/// Connections of a flood: as many as one client may have by default.
const FLOOD: u64 = 50;
/// How many visits are made during a flood, and their interval.
const VISITS: u32 = 500;
const EVERY: Duration = Duration::from_millis(10);
/// The name of the server's threads.
const SERVER: &str = "server";
/// Clock ticks of /proc per second on Linux.
const TICKS: f64 = 100.0;

/// One user, `app`, whose password is `s3cret`, hashed as `relayctl user` does.
#[derive(Debug)]
struct OneUser(User);

impl OneUser {
    fn new() -> Self {
        let hash = Argon2::default().hash_password(b"s3cret").expect("a salt");
        let secret = Secret::new("s3cret").expect("a password");
        let iterations = ScramVerifier::MIN_ITERATIONS;
        Self(User {
            password: hash.to_string().parse().expect("a hash"),
            scram: ScramVerifier::from_password(&secret, b"salt".to_vec(), iterations),
            senders: Vec::new(),
        })
    }
}

impl Users for OneUser {
    fn find(&self, name: &str) -> Option<User> {
        (name == "app").then(|| self.0.clone())
    }
}

/// A server, and the way its clients connect.
struct Bench {
    world: World<MemoryStore>,
    dialect: Dialect,
}

fn main() {
    let server = runtime(SERVER);
    let clients = runtime("clients");
    let limits = Limits {
        connections: 10_000,
        // Only passwords are measured, so the limit must not be reached.
        connections_per_client: 10_000,
        ..Limits::default()
    };
    let config = ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        users: Some(Arc::new(OneUser::new())),
        limits,
        ..config()
    };
    let guard = server.enter();
    let bench = Arc::new(Bench {
        world: start(MemoryStore::new(), config),
        dialect: Dialect::default(),
    });
    drop(guard);
    clients.block_on(async {
        bench.compare_logins().await;
        bench.visit("no other clients").await;
        let one = |_| Ipv4Addr::new(127, 0, 0, 2);
        bench
            .visit_during("wrong passwords from one client", one)
            .await;
        let many = "wrong passwords from many clients";
        bench.visit_during(many, of_many).await;
    });
}

fn runtime(name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let built = builder.thread_name(name).worker_threads(2).enable_all();
    built.build().expect("threads")
}

/// Returns a different client each time.
fn of_many(number: u64) -> Ipv4Addr {
    let [.., a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(127, 1 + a, b, c)
}

impl Bench {
    /// Measures the cost of AUTH in a session under TLS.
    async fn compare_logins(self: &Arc<Self>) {
        // The first login is hashed.
        self.session(EXTERNAL, Some("s3cret")).await;
        let without = self.measure("a session under TLS without a login", None);
        let without = without.await;
        let with = self.measure("the same with a known password", Some("s3cret"));
        println!("the login itself: {:.3} ms", with.await - without);
    }

    /// Returns the processor time of a session in milliseconds.
    async fn measure(self: &Arc<Self>, what: &str, password: Option<&'static str>) -> f64 {
        let (began, spent) = (Instant::now(), processor_time());
        let mut clients = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let bench = Arc::clone(self);
            clients.spawn(async move {
                for _ in 0..LOGINS / AT_A_TIME {
                    bench.session(EXTERNAL, password).await;
                }
            });
        }
        clients.join_all().await;
        let (seconds, spent) = (began.elapsed().as_secs_f64(), processor_time() - spent);
        let sessions = f64::from(LOGINS);
        let each = spent / sessions * 1000.0;
        let rate = sessions / seconds;
        println!("{what}: {each:.3} ms of processor time each, {rate:.0} per second");
        each
    }

    /// Runs a whole session and returns whether its login succeeded.
    async fn session(&self, from: Ipv4Addr, password: Option<&str>) -> bool {
        let visit = self.world.secured(Role::Submissions, from, &self.dialect);
        let (mut client, _) = visit.await;
        let mut succeeded = false;
        if let Some(password) = password {
            let response = base64::encode(format!("\0app\0{password}").as_bytes());
            let reply = client.command(&format!("AUTH PLAIN {}", *response)).await;
            succeeded = reply.starts_with("235");
        }
        if succeeded || password.is_none() {
            client.expect("QUIT", "221").await;
        }
        succeeded
    }

    /// Floods the server from these clients and visits it meanwhile.
    async fn visit_during(self: &Arc<Self>, what: &str, from: fn(u64) -> Ipv4Addr) {
        let guesses = Arc::new(AtomicU64::new(0));
        let mut flood = JoinSet::new();
        for _ in 0..FLOOD {
            let (bench, guesses) = (Arc::clone(self), Arc::clone(&guesses));
            flood.spawn(async move {
                loop {
                    let number = guesses.fetch_add(1, Ordering::Relaxed);
                    bench.session(from(number), Some("wrong")).await;
                }
            });
        }
        self.visit(what).await;
        flood.shutdown().await;
        let guesses = guesses.load(Ordering::Relaxed);
        println!("  {guesses} attempts meanwhile");
    }

    /// Visits the server every few milliseconds. Measures the time to the greeting and the time of
    /// a whole session with a cached password.
    async fn visit(&self, what: &str) {
        self.session(FRIEND, Some("s3cret")).await;
        let (mut greetings, mut logins) = (Vec::new(), Vec::new());
        let mut next = interval(EVERY);
        for _ in 0..VISITS {
            next.tick().await;
            let began = Instant::now();
            let mut client = self.world.connect(FRIEND).await;
            assert!(client.reply().await.starts_with("220"));
            greetings.push(began.elapsed());
            drop(client);
            let began = Instant::now();
            assert!(self.session(FRIEND, Some("s3cret")).await);
            logins.push(began.elapsed());
        }
        println!("during {what}:");
        println!("  greeting: {}", quantiles(greetings));
        println!("  TLS, login, QUIT: {}", quantiles(logins));
    }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let (half, most, all) = (at(50), at(99), at(100));
    format!("half within {half:.1} ms, 99 % within {most:.1} ms, all within {all:.1} ms")
}

/// Returns the processor time of the server's threads in seconds (proc(5)).
fn processor_time() -> f64 {
    let time = || -> io::Result<u32> {
        let mut ticks = 0;
        for task in fs::read_dir("/proc/self/task")? {
            let line = fs::read_to_string(task?.path().join("stat"))?;
            let (start, fields) = line.rsplit_once(')').unwrap_or_default();
            if start.ends_with(SERVER) {
                // utime and stime are the 14th and 15th field, and the name is the second.
                let times = fields.split_whitespace().skip(11).take(2);
                ticks += times
                    .filter_map(|time| time.parse::<u32>().ok())
                    .sum::<u32>();
            }
        }
        Ok(ticks)
    };
    f64::from(time().expect("/proc of Linux")) / TICKS
}
