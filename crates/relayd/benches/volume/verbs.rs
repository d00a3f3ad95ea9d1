//! Measures the operator's verbs on the whole queue while other mail is delivered.

use std::sync::Arc;
use std::time::Duration;

use super::fill::SENDER;
use super::relay::Relay;
use super::{Internet, Verdict, now};

/// The time limit of a verb for a hundred thousand messages.
const BOUND: Duration = Duration::from_secs(5);
/// The time limit of other mail from its client to its host in the meantime.
const DELIVERY: Duration = Duration::from_secs(1);

/// The verbs in their order. Each works on the queue as the one before it left it.
pub async fn measure(
    relay: &Arc<Relay>,
    messages: usize,
    verbs: &[&'static str],
    internet: &Internet,
    verdict: &mut Verdict,
) {
    let bound = BOUND.mul_f64(f64::from(u32::try_from(messages).unwrap_or(u32::MAX)) / 1e5);
    for words in verbs {
        let (took, slowest) = one(relay, words, internet).await;
        verdict.time(&format!("relayctl queue {words}"), took, bound);
        verdict.time("the slowest delivery meanwhile", slowest, DELIVERY);
    }
}

/// Returns how long the verb takes, and the slowest delivery that began in the meantime.
async fn one(relay: &Arc<Relay>, words: &'static str, internet: &Internet) -> (Duration, Duration) {
    let asked = Arc::clone(relay);
    let verb = tokio::task::spawn_blocking(move || {
        let since = now();
        let words: Vec<_> = words.split(' ').collect();
        asked.ctl(&[&["queue"], &words[..], &["--sender", SENDER]].concat());
        since.elapsed()
    });
    let mut slowest = Duration::ZERO;
    while !verb.is_finished() {
        slowest = slowest.max(internet.delivery_time(relay).await);
    }
    (verb.await.expect("a verb that is done"), slowest)
}
