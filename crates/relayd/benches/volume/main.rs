//! A queue of a million messages: `cargo bench -p relayd --bench volume -- [MESSAGES] [verbs]`.
//!
//! Fills a state directory through the store, starts the release build of relayd on it and measures,
//! first with one destination that takes connections and never says a word, then with ten thousand
//! whose hosts refuse. Beside it runs a relay with an empty queue, and both are offered the same mail in
//! turn. At last come the verbs of relayctl on all that is queued, or those alone. Ends with 1 if a bound is missed. `TMPDIR` says where the queues lie: on the disk that is meant,
//! not on tmpfs. Other work on the machine spoils the figures.

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
/// Octets of a body.
const BODY: usize = 1024;
/// Messages that each relay is offered in each turn.
const OFFERED: usize = 5_000;
const TURNS: usize = 6;

/// What must hold.
const START: Duration = Duration::from_secs(3);
const MEMORY: u64 = 600 * 1024 * 1024;
const ANSWER: Duration = Duration::from_millis(100);
const ACCEPTS: f64 = 0.8;
const DELIVERY: Duration = Duration::from_secs(1);
/// How long what has no bound of its own may take.
const DEADLINE: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    // What cargo passes to a bench, such as `--bench`, means nothing here.
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

/// What was measured held against its bound.
struct Verdict {
    is_good: bool,
}

impl Verdict {
    fn time(&mut self, what: &str, took: Duration, bound: Duration) {
        let (took_ms, bound_ms) = (took.as_millis(), bound.as_millis());
        self.tell(
            format_args!("{what}: {took_ms} ms (at most {bound_ms})"),
            took <= bound,
        );
    }

    fn tell(&mut self, line: std::fmt::Arguments<'_>, holds: bool) {
        self.is_good &= holds;
        println!("{line}{}", if holds { "" } else { " MISSED" });
    }
}

/// A host that works, and one that is dead, on the same port.
struct Internet {
    good: FakeMx,
    dns: FakeDns,
    /// Takes connections by its backlog alone, so that whoever connects waits for a greeting.
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

    /// How long a message takes from its client's connection to the healthy host.
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
    // What makes ten thousand destinations due is measured above.
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

/// What it is like to have all that in the queue.
async fn measure_full(full: &Relay, internet: &Internet, mail: Mail, verdict: &mut Verdict) {
    let Mail {
        messages,
        destinations,
        ..
    } = mail;
    let took = internet.delivery_time(full).await;
    // Ten thousand destinations that are tried for the first time have their turns before.
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
    tell_memory(full, verdict);
}

/// Waits until all has been read and nothing is tried any more, but for what waits for the mute host.
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

/// Mail for a dead domain is offered to both in turn, so that what else the machine does meets both.
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
    verdict.tell(
        format_args!(
            "accepted: {with_full:.0}/s beside {with_empty:.0}/s with an empty queue, \
             {ratio:.2} times (at least {ACCEPTS})"
        ),
        ratio >= ACCEPTS,
    );
}

fn tell_memory(relay: &Relay, verdict: &mut Verdict) {
    let (resident, most) = (relay.memory("VmRSS:"), relay.memory("VmHWM:"));
    let mib = |octets: u64| octets / 1024 / 1024;
    verdict.tell(
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
