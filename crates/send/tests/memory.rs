//! The memory that a queued message costs the schedule. This is a test binary of its own, because
//! it measures its own process.

#![cfg(target_os = "linux")]

use std::time::{Duration, UNIX_EPOCH};

use relay_message::{DestinationKey, QueueId};
use relay_send::schedule::{Due, Schedule, ScheduleLimits, Wait};
use relay_send::{Concurrency, RetryPolicy};

const JOBS: u64 = 200_000;

/// Returns the resident octets of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kibibytes: u64 = kibibytes.expect("the line").parse().expect("a number");
    kibibytes * 1024
}

fn schedule(destinations: u64) -> Schedule {
    let policy = RetryPolicy {
        lifetime: Duration::from_hours(120),
        unit: Duration::from_secs(400),
        max_interval: Duration::from_hours(4),
    };
    let concurrency = Concurrency {
        overall: 120,
        per_destination: 20,
    };
    let keys: Vec<_> = (0..destinations)
        .map(|n| DestinationKey(format!("domain{n}.test").into()))
        .collect();
    let mut schedule = Schedule::new(ScheduleLimits {
        retry: policy,
        concurrency,
        notice_after: Duration::from_hours(4),
    });
    for n in 0..JOBS {
        let arrived = UNIX_EPOCH + Duration::from_millis(1_800_000_000_000 + n * 7);
        // Times of retries are in no order.
        let pause = Duration::from_micros(n.wrapping_mul(0x9e37_79b9) % 14_400_000_000);
        let wait = Wait {
            id: QueueId::from_bits(n),
            arrived,
            due: Due::At(arrived + pause),
            owes_notice: true,
        };
        let key = usize::try_from(n % destinations).expect("small");
        schedule.insert(wait, &keys[key]);
    }
    schedule
}

#[test]
fn a_waiting_job_takes_less_than_300_octets() {
    // All schedules are kept: memory freed by one would be used again by the next, unmeasured.
    let mut schedules = Vec::new();
    for destinations in [1, 10_000] {
        let before = resident();
        let schedule = schedule(destinations);
        let each = resident().saturating_sub(before) / JOBS;
        println!("{destinations} destinations: {each} octets for each job");
        assert!(each < 300, "{each} with {destinations} destinations");
        assert_eq!(schedule.waiting() as u64, JOBS);
        schedules.push(schedule);
    }
}
