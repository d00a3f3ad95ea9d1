//! A queue of a million messages: `cargo bench -p relayd --bench volume -- [MESSAGES] [verbs]`.
//!
//! Fills a state directory through the store, starts the release build of relayd on it and
//! measures: first with one destination that accepts connections and never replies, then with ten
//! thousand destinations whose hosts refuse. A second relay has an empty queue, and both receive
//! the same mail in turn. The last measurement, or the only one with `verbs`, is that of the verbs
//! of relayctl on the whole queue. The exit code is 1 if a limit is exceeded.
//!
//! `TMPDIR` must be on the disk to measure, not on tmpfs. Other work on the machine makes the
//! figures useless.

mod fill;
mod load;
mod relay;
mod verbs;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay_testkit::{FakeDns, FakeMx};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use self::fill::Mail;
use self::relay::Relay;

const MESSAGES: usize = 1_000_000;
const DESTINATIONS: usize = 10_000;
/// The octets of a body.
const BODY: usize = 1024;
/// The messages that each relay receives in each turn.
const OFFERED: usize = 5_000;
const TURNS: usize = 6;

/// The limits.
const START: Duration = Duration::from_secs(3);
const MEMORY: u64 = 600 * 1024 * 1024;
const ANSWER: Duration = Duration::from_millis(100);
const ACCEPTS: f64 = 0.8;
const DELIVERY: Duration = Duration::from_secs(1);
/// The time limit for everything else.
const DEADLINE: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    // Arguments that cargo adds, such as `--bench`, are ignored.
    let messages = std::env::args().find_map(|argument| argument.parse().ok());
    let messages = messages.unwrap_or(MESSAGES);
    let has_verbs_only = std::env::args().any(|argument| argument == "verbs");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let is_good = runtime.block_on(async {
        let mut verdict = Verdict { is_good: true };
        for destinations in [1, DESTINATIONS] {
            measure(messages, destinations, has_verbs_only, &mut verdict).await;
        }
        verdict.is_good
    });
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Compares the measurements with the limits.
struct Verdict {
    is_good: bool,
}

impl Verdict {
    fn time(&mut self, what: &str, took: Duration, bound: Duration) {
        let (took_ms, bound_ms) = (took.as_millis(), bound.as_millis());
        self.record(
            format_args!("{what}: {took_ms} ms (at most {bound_ms})"),
            took <= bound,
        );
    }

    fn record(&mut self, line: std::fmt::Arguments<'_>, holds: bool) {
        self.is_good &= holds;
        println!("{line}{}", if holds { "" } else { " MISSED" });
    }
}

/// A host that works, and a dead one on the same port.
struct Internet {
    good: FakeMx,
    dns: FakeDns,
    /// Accepts connections only into its backlog, so that clients wait for a greeting.
    _mute: TcpListener,
}

const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const MUTE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const REFUSING: &str = "127.0.0.4";

impl Internet {
    async fn start(destinations: usize) -> Self {
        let (good, mute) = loop {
            let [good] = FakeMx::start_on([IpAddr::from(GOOD)]).await;
            if let Ok(mute) = TcpListener::bind((MUTE, good.address().port())).await {
                break (good, mute);
            }
        };
        let dns = FakeDns::start().await;
        dns.set("good.test", "MX", &["10 mx.good.test"]);
        dns.set("mx.good.test", "A", &[&GOOD.to_string()]);
        dns.set("mx.mute.test", "A", &[&MUTE.to_string()]);
        dns.set("mx.refusing.test", "A", &[REFUSING]);
        for number in 0..destinations {
            let mx = if destinations == 1 {
                "10 mx.mute.test"
            } else {
                "10 mx.refusing.test"
            };
            dns.set(&fill::domain(number), "MX", &[mx]);
        }
        Self {
            good,
            dns,
            _mute: mute,
        }
    }

    fn configuration(&self) -> String {
        format!(
            "[delivery]\nport = {}\nrefuse_addresses = []\n[dns]\nservers = [\"{}\"]\n\
             [limits]\nconnections_per_client = 1000\n",
            self.good.address().port(),
            self.dns.address()
        )
    }

    /// Returns how long a message takes from the client's connection to the healthy host.
    async fn delivery_time(&self, relay: &Relay) -> Duration {
        let expected = self.good.messages().len() + 1;
        let since = now();
        load::offer(relay.port(), "user@good.test", BODY, 1, 1).await;
        let delivered = timeout(DEADLINE, self.good.wait_for_messages(expected)).await;
        delivered.expect("it is delivered in the end");
        since.elapsed()
    }

    async fn slowest_delivery(&self, relay: &Relay, times: usize) -> Duration {
        let mut slowest = Duration::ZERO;
        for _ in 0..times {
            slowest = slowest.max(self.delivery_time(relay).await);
        }
        slowest
    }
}

async fn measure(
    messages: usize,
    destinations: usize,
    has_verbs_only: bool,
    verdict: &mut Verdict,
) {
    println!("{messages} messages of {BODY} octets for {destinations} destinations");
    let internet = Internet::start(destinations).await;
    let extra = internet.configuration();
    let mut full = Relay::prepare(&extra);
    let since = now();
    let mail = Mail {
        messages,
        destinations,
        body: BODY,
    };
    fill::fill(&full.path("state"), mail).await;
    println!("filled in {:.1} s", since.elapsed().as_secs_f64());
    let took = full.start();
    verdict.time("start to listening", took, START);
    if has_verbs_only {
        settled(&full, messages, destinations).await;
    } else {
        measure_full(&full, &internet, mail, verdict).await;
    }
    // Ten thousand destinations that become due are measured above.
    let verbs = match destinations {
        1 => &[
            "list --json",
            "summary",
            "retry",
            "hold",
            "release",
            "delete --yes",
        ][..],
        _ => &["bounce --yes"],
    };
    verbs::measure(&Arc::new(full), messages, verbs, &internet, verdict).await;
}

/// Measures a relay with a full queue.
async fn measure_full(full: &Relay, internet: &Internet, mail: Mail, verdict: &mut Verdict) {
    let Mail {
        messages,
        destinations,
        ..
    } = mail;
    let took = internet.delivery_time(full).await;
    // Ten thousand destinations that are tried for the first time come before.
    let bound = if destinations == 1 {
        DELIVERY
    } else {
        DEADLINE
    };
    verdict.time(
        "delivered to a healthy domain right after the start",
        took,
        bound,
    );
    let since = now();
    settled(full, messages, destinations).await;
    println!(
        "read and tried after {:.1} s more",
        since.elapsed().as_secs_f64()
    );
    let took = internet.slowest_delivery(full, 20).await;
    verdict.time(
        "the slowest of 20 delivered to a healthy domain",
        took,
        DELIVERY,
    );
    verdict.time(
        "the slowest of 20 times relayctl qstat",
        slowest_answer(full),
        ANSWER,
    );
    compare_accepts(&internet.configuration(), full, verdict).await;
    let took = internet.slowest_delivery(full, 5).await;
    verdict.time("the slowest of 5 delivered after that", took, DELIVERY);
    record_memory(full, verdict);
}

/// Waits until the whole queue has been read and only mail to the mute host is still under way.
async fn settled(relay: &Relay, messages: usize, destinations: usize) {
    let is_settled = || {
        let status = relay.status();
        let (mut waiting, mut in_flight) = (0, 0);
        for destination in status["destinations"].as_array().into_iter().flatten() {
            waiting += destination["waiting"].as_u64().unwrap_or_default();
            in_flight += destination["in_flight"].as_u64().unwrap_or_default();
        }
        let is_read = waiting + in_flight >= messages as u64;
        is_read && (destinations == 1 || in_flight == 0)
    };
    let waiting = async {
        while !is_settled() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("an end");
}

fn slowest_answer(relay: &Relay) -> Duration {
    let took = (0..20).map(|_| {
        let since = now();
        relay.ctl(&["qstat"]);
        since.elapsed()
    });
    took.max().unwrap_or_default()
}

/// Sends mail for a dead domain to both in turn, so that other work on the machine affects both.
async fn compare_accepts(extra: &str, full: &Relay, verdict: &mut Verdict) {
    let mut empty = Relay::prepare(extra);
    empty.start();
    let mut ratios = Vec::new();
    let mut rates = [0.0; 2];
    let to = format!("user@{}", fill::domain(0));
    for number in 0..TURNS {
        let mut turn = [0.0; 2];
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let port = [&empty, full][which].port();
            let took = load::offer(port, &to, BODY, OFFERED, 20).await;
            turn[which] = per_second(OFFERED, took);
        }
        ratios.push(turn[1] / turn[0]);
        rates = [rates[0] + turn[0], rates[1] + turn[1]];
    }
    ratios.sort_by(f64::total_cmp);
    let [with_empty, with_full] = rates.map(|sum| sum / per_second(TURNS, Duration::from_secs(1)));
    let ratio = ratios[TURNS / 2];
    verdict.record(
        format_args!(
            "accepted: {with_full:.0}/s, and {with_empty:.0}/s with an empty queue, \
             {ratio:.2} times (at least {ACCEPTS})"
        ),
        ratio >= ACCEPTS,
    );
}

fn record_memory(relay: &Relay, verdict: &mut Verdict) {
    let (resident, most) = (relay.memory("VmRSS:"), relay.memory("VmHWM:"));
    let mib = |octets: u64| octets / 1024 / 1024;
    verdict.record(
        format_args!(
            "memory: {} MiB, {} at the most (at most {})",
            mib(resident),
            mib(most),
            mib(MEMORY)
        ),
        most <= MEMORY,
    );
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}
