//! Power cuts, full disks and failing disks, with the real daemon on a real file system. Run by
//! `tests/power/run.sh`, which lists what that needs.

use std::fs;

use relay_tests::{Launch, Load, Trial, Verdict, Volume};

/// The most rounds with a relay that does not sync. At least one of them must lose something.
const VOID_TRIES: usize = 5;

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn file_system() -> String {
    setting("POWER_FS", "ext4")
}

/// A relay whose queue is on its own file system. The relay ends before the file system is
/// unmounted.
struct Site {
    volume: Volume,
    trial: Trial,
}

impl Site {
    async fn prepare(size: &str) -> Self {
        let trial = Trial::prepare("").await;
        let volume = Volume::mount(&file_system(), size, &trial.relay.path("state"));
        Self { volume, trial }
    }

    /// Cuts the power while clients are sending. Returns whether the relay starts afterwards.
    async fn cut_power(&mut self, launch: &Launch, load: fn(&Trial) -> Load) -> bool {
        let started = self.trial.relay.launch(launch);
        started.unwrap_or_else(|log| panic!("relayd ended: {log}"));
        let load = load(&self.trial);
        self.trial.more(fastrand::usize(20..600)).await;
        self.volume.cut_power();
        self.trial.relay.kill();
        load.stop().await;
        self.volume.power_up();
        self.trial.relay.launch(&Launch::plain()).is_ok()
    }

    /// Whether a relay without syncs loses mail in one of several rounds, which end with the first
    /// loss.
    async fn loses_with(launch: &Launch, load: fn(&Trial) -> Load) -> bool {
        for round in 1..=VOID_TRIES {
            let mut site = Self::prepare("400M").await;
            let starts = site.cut_power(launch, load).await;
            let drains = starts && site.trial.drain().await;
            let verdict = site.trial.receivers.judge(&site.trial.ledger);
            tell(&format!("without syncs, round {round}"), &verdict);
            eprintln!("  it starts: {starts}, its queue empties: {drains}");
            if !verdict.lost.is_empty() {
                return true;
            }
        }
        false
    }
}

fn tell(what: &str, verdict: &Verdict) {
    let Verdict {
        acknowledged,
        lost,
        wrong,
        twice,
    } = verdict;
    let (lost, wrong) = (lost.len(), wrong.len());
    eprintln!(
        "{} {what}: {acknowledged} messages acknowledged, {lost} recipients lost, {wrong} wrong, \
         {twice} twice",
        file_system()
    );
}

#[tokio::test]
#[ignore = "needs root: see tests/power/run.sh"]
async fn no_power_cut_loses_acknowledged_mail() {
    let rounds: usize = setting("POWER_ROUNDS", "3").parse().expect("a number");
    let (mut site, mut acknowledged) = (Site::prepare("400M").await, 0);
    for round in 1..=rounds {
        let starts = site.cut_power(&Launch::plain(), Trial::load).await;
        assert!(starts, "round {round}: relayd does not start");
        let verdict = site.trial.settle().await;
        tell(&format!("round {round}"), &verdict);
        assert!(verdict.is_good(), "round {round}: {verdict:?}");
        acknowledged += verdict.acknowledged;
        site.trial.relay.kill();
    }
    eprintln!(
        "{} {rounds} rounds: {acknowledged} messages acknowledged, none lost",
        file_system()
    );
}

#[tokio::test]
#[ignore = "needs root: see tests/power/run.sh"]
async fn under_eatmydata_the_same_power_cut_loses_mail() {
    let launch = Launch::under(&["eatmydata"]);
    assert!(Site::loses_with(&launch, Trial::load).await);
}

#[tokio::test]
#[ignore = "needs root: see tests/power/run.sh"]
async fn without_the_fdatasync_of_a_commit_the_same_power_cut_loses_mail() {
    let small = |trial: &Trial| Load::small(&trial.relay, &trial.ledger);
    assert!(Site::loses_with(&Launch::without_fdatasync(), small).await);
}

/// Returns the replies other than 250 since the last call, which must all be temporary.
async fn refusals(trial: &Trial) -> Vec<String> {
    let refusals = trial.refusals().await;
    let are_temporary = refusals.iter().all(|reply| reply.starts_with('4'));
    assert!(are_temporary, "{refusals:?}");
    refusals
}

#[tokio::test]
#[ignore = "needs root: see tests/power/run.sh"]
async fn a_disk_that_fills_up_under_load_causes_only_4xx_replies_until_there_is_space() {
    // XFS cannot be this small.
    let trial = Trial::prepare("").await;
    let volume = Volume::mount("ext4", "24M", &trial.relay.path("state"));
    let mut site = Site { volume, trial };
    let file = site.trial.relay.path("relayd.toml");
    let config = fs::read_to_string(&file).expect("a file");
    // No space is kept free, so that writes fail in the middle.
    let config = config.replace("[queue]\n", "[queue]\nmin_free = \"0B\"\n");
    site.trial.relay.write("relayd.toml", &config);
    site.trial.relay.restart();
    let load = site.trial.load();
    for _ in 0..5 {
        site.trial.more(fastrand::usize(1..100)).await;
        site.volume.fill();
        eprintln!("refused: {:?}", refusals(&site.trial).await);
        site.volume.make_room();
        site.trial.receivers.take_later();
        site.trial.more(1).await;
    }
    load.stop().await;
    let verdict = site.trial.settle().await;
    tell("full five times", &verdict);
    assert!(verdict.is_good(), "{verdict:?}");
    let log = site.trial.relay.kill();
    assert!(log.contains("queue error"), "the journal had the error");
}

#[tokio::test]
#[ignore = "needs strace: see tests/power/run.sh"]
async fn any_failing_disk_call_causes_only_4xx_replies_for_a_while() {
    for call in ["pwrite64", "fdatasync"] {
        for error in ["EIO", "ENOSPC"] {
            let nth = fastrand::u32(15..60);
            let inject = format!("inject={call}:error={error}:when={nth}+{}", nth * 2);
            let strace = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e"];
            let launch = Launch::under(&[&strace[..], &[&inject]].concat());
            let mut trial = Trial::prepare("").await;
            let launched = trial.relay.launch(&launch);
            launched.unwrap_or_else(|log| panic!("{inject}: {log}"));
            let load = trial.load();
            let refused = refusals(&trial).await;
            trial.more(20).await;
            load.stop().await;
            let verdict = trial.settle().await;
            tell(&format!("{inject}, {} refusals", refused.len()), &verdict);
            assert!(verdict.is_good(), "{inject}: {verdict:?}");
            assert!(trial.relay.kill().contains("queue error"), "{inject}");
        }
    }
}
