//! Formats one screen of the live view as lines of text.

use std::time::{Duration, SystemTime};

use relay_control::{Accounting, Destination, Status};
use relay_terminal::{escape, until};

/// The size of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The counters at an earlier time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier {
    pub(super) accounting: Accounting,
    pub(super) passed: Duration,
}

/// Returns the lines, cut to the width and the height of the terminal. Rates require an earlier
/// status.
pub(super) fn lines(
    status: &Status,
    earlier: Option<Earlier>,
    size: Size,
    now: SystemTime,
) -> Vec<String> {
    let mut lines = head(status, earlier);
    let mut busiest: Vec<&Destination> = status.destinations.iter().collect();
    busiest.sort_by(|a, b| {
        let most_first = (b.in_flight, b.waiting).cmp(&(a.in_flight, a.waiting));
        most_first.then_with(|| a.name.cmp(&b.name))
    });
    let room = size.rows.saturating_sub(lines.len());
    // The line with the number of omitted destinations takes the place of one of them.
    let left_out = match busiest.len() {
        all if all > room => all + 1 - room.max(1),
        _ => 0,
    };
    busiest.truncate(busiest.len() - left_out);
    lines.extend(busiest.into_iter().map(|d| destination(d, status, now)));
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines.truncate(size.rows);
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

fn head(status: &Status, earlier: Option<Earlier>) -> Vec<String> {
    let title = format!(
        "relayd {}  up {}  messages {}  not tried yet {}",
        escape(&status.version),
        humantime::format_duration(Duration::from_secs(status.uptime)),
        status.messages,
        status.fresh
    );
    let columns = [
        "destination",
        "waiting",
        "running",
        "slots",
        "next attempt",
        "last trouble",
    ];
    vec![
        title,
        running(status),
        rates(status, earlier),
        String::new(),
        row(columns),
    ]
}

fn running(status: &Status) -> String {
    let mut line = format!(
        "deliveries {}/{}  queued {}  deferred {}  in flight {}",
        status.destinations.iter().map(|d| d.in_flight).sum::<u64>(),
        status.concurrency,
        status.states.queued,
        status.states.deferred,
        status.states.in_flight
    );
    for (count, name) in [
        (status.damaged, "damaged"),
        (status.alarms.len() as u64, "alarms"),
    ] {
        if count > 0 {
            line = format!("{line}  {name} {count}");
        }
    }
    line
}

/// Returns the rates of recipients from the accounting.
fn rates(status: &Status, earlier: Option<Earlier>) -> String {
    let counts = |accounting: Accounting| {
        [
            ("accepted", accounting.accepted),
            ("delivered", accounting.delivered),
            ("bounced", accounting.bounced),
            ("discarded", accounting.discarded),
        ]
    };
    let totals = counts(status.accounting);
    let Some(earlier) = earlier else {
        let totals = totals.map(|(name, count)| format!("{name} {count}"));
        return totals.join("  ");
    };
    let rates = totals.into_iter().zip(counts(earlier.accounting));
    let rates = rates.map(|((name, count), (_, before))| {
        let rate = per_second(count.saturating_sub(before), earlier.passed);
        format!("{name} {count} ({rate}/s)")
    });
    rates.collect::<Vec<_>>().join("  ")
}

/// Formats a rate with one decimal place.
fn per_second(count: u64, passed: Duration) -> String {
    let millis = passed.as_millis().max(1);
    let tenths = (u128::from(count) * 10_000 + millis / 2) / millis;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn destination(destination: &Destination, status: &Status, now: SystemTime) -> String {
    let next = match destination.next_attempt {
        _ if status.rules.suspended.contains(&destination.name) => "suspended".to_owned(),
        Some(next) => until(next, now),
        None => String::new(),
    };
    row([
        &escape(&destination.name),
        &destination.waiting.to_string(),
        &destination.in_flight.to_string(),
        &destination.slots.to_string(),
        &next,
        &escape(destination.last_trouble.as_deref().unwrap_or_default()),
    ])
}

fn row([name, waiting, running, slots, next, trouble]: [&str; 6]) -> String {
    let name = cut(name, 30);
    let line = format!("{name:<30} {waiting:>8} {running:>7} {slots:>5}  {next:<14}  {trouble}");
    line.trim_end().to_owned()
}

/// Returns at most this many characters of the text.
fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn status(delivered: u64) -> Status {
        let json = format!(
            r#"{{"messages":3,"fresh":1,"damaged":0,"states":{{"queued":1,"deferred":1,"in-flight":1}},
            "books":{{"accepted":9,"reports":0,"delivered":{delivered},"bounced":0,"discarded":0,"set_aside":0}},
            "concurrency":120,"destinations":[
            {{"name":"idle.test","waiting":7,"in_flight":0,"slots":5,"next_attempt":1400,"last_trouble":"450 \u001b[2Jlater"}},
            {{"name":"put\u001b[2Jdown.test","waiting":6,"in_flight":0,"slots":5,"next_attempt":1400,"last_trouble":null}},
            {{"name":"busy.test","waiting":1,"in_flight":2,"slots":20,"next_attempt":null,"last_trouble":null}}],
            "orders":{{"suspended":["put\u001b[2Jdown.test"],"hold_incoming":[]}},
            "version":"0.1.0","uptime":65,"state_dir":"/s","listeners":[]}}"#
        );
        serde_json::from_str(&json).expect("a status")
    }

    const WIDE: Size = Size {
        columns: 200,
        rows: 50,
    };

    fn shown(size: Size) -> Vec<String> {
        let earlier = Earlier {
            accounting: status(3).accounting,
            passed: Duration::from_secs(4),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        lines(&status(8), Some(earlier), size, now)
    }

    #[test]
    fn the_busiest_destination_comes_first_and_rates_are_per_second() {
        let lines = shown(WIDE);
        assert_eq!(
            lines[..3],
            [
                "relayd 0.1.0  up 1m 5s  messages 3  not tried yet 1",
                "deliveries 2/120  queued 1  deferred 1  in flight 1",
                "accepted 9 (0.0/s)  delivered 8 (1.3/s)  bounced 0 (0.0/s)  discarded 0 (0.0/s)",
            ]
        );
        assert!(lines[5].starts_with("busy.test"), "{lines:?}");
        assert!(lines[6].starts_with("idle.test"), "{lines:?}");
        assert!(lines[7].ends_with("suspended"), "{lines:?}");
    }

    #[test]
    fn control_characters_of_others_are_escaped() {
        let lines = shown(WIDE);
        let ends = "in 6m 40s       450 \\u{1b}[2Jlater";
        assert!(lines[6].ends_with(ends), "{lines:?}");
        assert!(lines[7].starts_with("put\\u{1b}[2Jdown.test "), "{lines:?}");
    }

    #[test]
    fn the_first_screen_has_no_rates() {
        let lines = lines(&status(8), None, WIDE, UNIX_EPOCH);
        assert_eq!(lines[2], "accepted 9  delivered 8  bounced 0  discarded 0");
    }

    #[test]
    fn a_screen_fits_any_terminal() {
        for rows in 0..10 {
            for columns in [0, 1, 10, 40] {
                let lines = shown(Size { columns, rows });
                assert_eq!(lines.len(), rows.min(8));
                assert!(lines.iter().all(|line| line.chars().count() <= columns));
            }
        }
    }

    #[test]
    fn destinations_without_room_are_counted() {
        let last = |rows| {
            let lines = shown(Size { columns: 40, rows });
            lines.last().cloned().unwrap_or_default()
        };
        assert!(last(8).starts_with("put"));
        assert_eq!(last(7), "and 2 more");
        assert_eq!(last(6), "and 3 more");
    }
}
