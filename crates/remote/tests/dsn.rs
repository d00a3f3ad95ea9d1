//! DSN requests of the sender, and who sends the reports.

mod world;

use std::sync::{Arc, Mutex};

use relay_message::{Attempt, Progress};
use relay_testkit::{FakeMx, ScriptStep};
use world::{World, ip, job, verdict};

/// Records its calls.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    fn note(&self, text: String) {
        self.0.lock().expect("no panic").push(text);
    }
}

impl Progress for Seen {
    fn connected(&self) {
        self.note("connected".to_owned());
    }

    fn passed_on(&self, recipient: usize) {
        self.note(format!("passed on {recipient}"));
    }
}

/// Returns an attempt that requests a report for its first recipient, and the observer of the
/// attempt.
fn with_dsn(recipients: &[&str]) -> (Attempt, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let mut job = Attempt {
        progress: Arc::clone(&seen) as _,
        ..job(recipients)
    };
    job.dsn.envid = Some("QQ1".parse().expect("xtext"));
    job.recipients[0].notify = "SUCCESS".parse().expect("a list");
    (job, seen)
}

#[tokio::test]
async fn a_peer_with_dsn_sends_the_reports_for_what_it_accepted() {
    let mx = FakeMx::start().await;
    let world = World::with_mx(&mx).await;
    mx.on("rcpt no@dest.test", "550 5.1.1 no");
    for (extensions, passed_on) in [
        (
            &["PIPELINING", "DSN"][..],
            &["passed on 0", "passed on 2"][..],
        ),
        (&["PIPELINING"], &[]),
    ] {
        mx.offer(extensions);
        let (job, seen) = with_dsn(&["u@dest.test", "no@dest.test", "v@dest.test"]);
        world.deliver(job).await;
        let expected = [&["connected"], passed_on].concat();
        assert_eq!(seen.all(), expected, "{extensions:?}");
        let message = mx.messages().pop().expect("a message");
        let is_told = !passed_on.is_empty();
        assert_eq!(message.mail.contains("ENVID=QQ1"), is_told);
        let option = if is_told { " NOTIFY=SUCCESS" } else { "" };
        assert_eq!(
            message.recipients,
            [format!("<u@dest.test>{option}"), "<v@dest.test>".to_owned()]
        );
        world.close().await;
    }
}

#[tokio::test]
async fn a_peer_that_did_not_accept_the_message_sends_no_reports() {
    let [with, without] = FakeMx::start_on(["127.0.0.7", "127.0.0.8"].map(ip)).await;
    with.offer(&["PIPELINING", "DSN"]);
    with.on("data", ScriptStep::Drop);
    let world = World::new(with.address().port()).await;
    let exchangers = ["5 a.test", "10 b.test"];
    world.dns.set("dest.test", "MX", &exchangers);
    world.dns.set("a.test", "A", &["127.0.0.7"]);
    world.dns.set("b.test", "A", &["127.0.0.8"]);
    let (job, seen) = with_dsn(&["u@dest.test"]);
    let outcomes = world.deliver(job).await;
    assert_eq!(verdict(&outcomes[0]), "delivered 2.0.0");
    assert_eq!(without.messages().len(), 1);
    assert_eq!(seen.all(), ["connected", "connected"]);
}
