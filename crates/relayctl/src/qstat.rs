//! `qstat`: prints the state of the relay.

use std::cmp::Reverse;
use std::io::Write;
use std::time::SystemTime;

use relay_control::{Destination, Status};
use relay_terminal::{date, escape, until};

use crate::error::RelayctlError;
use crate::standing_rules::write_rules;

/// Prints the two lines of qmail-qstat, then the counts by state and by destination, with at most
/// `limit` destinations.
pub(crate) fn print_status(
    out: &mut impl Write,
    status: &Status,
    limit: usize,
    now: SystemTime,
) -> Result<(), RelayctlError> {
    write_status(out, status, limit, now).map_err(RelayctlError::Output)
}

fn write_status(
    out: &mut impl Write,
    status: &Status,
    limit: usize,
    now: SystemTime,
) -> std::io::Result<()> {
    writeln!(out, "messages in queue: {}", status.messages)?;
    writeln!(
        out,
        "messages in queue but not yet preprocessed: {}",
        status.fresh
    )?;
    if status.damaged > 0 {
        writeln!(
            out,
            "damaged messages set aside: {} (in {}/corrupt)",
            status.damaged,
            escape(&status.state_dir)
        )?;
    }
    write_warnings(out, status)?;
    write_rules(out, &status.rules)?;
    let counts = status.states;
    writeln!(out)?;
    writeln!(out, "{:<12}{:>10}", "state", "messages")?;
    writeln!(out, "{:<12}{:>10}", "queued", counts.queued)?;
    writeln!(out, "{:<12}{:>10}", "deferred", counts.deferred)?;
    writeln!(out, "{:<12}{:>10}", "in-flight", counts.in_flight)?;
    write_destinations(out, status, limit, now)
}

/// Prints one line for each problem that requires the operator.
fn write_warnings(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    for alarm in &status.alarms {
        let (about, reason) = (escape(&alarm.about), escape(&alarm.reason));
        writeln!(out, "alarm: {about} since {}: {reason}", date(alarm.since))?;
    }
    if status.reading {
        writeln!(
            out,
            "the queue is still being read: what has not been read yet is not tried"
        )?;
    }
    if status.reports_suppressed > 0 {
        writeln!(
            out,
            "reports not made since the start, their addressees having had too many: {}",
            status.reports_suppressed
        )?;
    }
    for certificate in status.certificates.iter().filter(|c| c.needs_renewal()) {
        let (file, end) = (escape(&certificate.file), date(certificate.expires));
        match certificate.days_left {
            ..0 => writeln!(out, "warning: the certificate in {file} has expired: {end}")?,
            days => writeln!(
                out,
                "warning: the certificate in {file} expires in {days} days: {end}"
            )?,
        }
    }
    Ok(())
}

/// Prints the destinations: those with problems first, then those with the most waiting mail.
fn write_destinations(
    out: &mut impl Write,
    status: &Status,
    limit: usize,
    now: SystemTime,
) -> std::io::Result<()> {
    if status.destinations.is_empty() {
        return Ok(());
    }
    let is_suspended = |d: &Destination| status.rules.suspended.contains(&d.name);
    let is_well = |d: &Destination| d.last_trouble.is_none() && !is_suspended(d);
    let mut destinations: Vec<_> = status.destinations.iter().collect();
    destinations.sort_by_cached_key(|d| (is_well(d), Reverse(d.waiting), &d.name));
    let more = destinations.len().saturating_sub(limit);
    destinations.truncate(limit);
    let names: Vec<String> = destinations.iter().map(|d| escape(&d.name)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = longest.unwrap_or_default().clamp("destination".len(), 60);
    writeln!(out)?;
    writeln!(
        out,
        "{:<width$}  {:>8}  {:>9}  {:>5}  {:<16}  last trouble",
        "destination", "waiting", "in-flight", "slots", "next attempt"
    )?;
    for (destination, name) in destinations.into_iter().zip(names) {
        let next = match destination.next_attempt {
            _ if is_suspended(destination) => "suspended".to_owned(),
            Some(next) => until(next, now),
            None => String::new(),
        };
        let line = format!(
            "{name:<width$}  {:>8}  {:>9}  {:>5}  {next:<16}  {}",
            destination.waiting,
            destination.in_flight,
            destination.slots,
            escape(destination.last_trouble.as_deref().unwrap_or_default()),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    match more {
        0 => Ok(()),
        more => writeln!(out, "and {more} more; --limit shows them"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use relay_control::{Accounting, Alarm, Certificate, Messages, StandingRules};

    use super::*;

    fn status() -> Status {
        Status {
            messages: 360,
            fresh: 0,
            damaged: 0,
            states: Messages::default(),
            accounting: Accounting::default(),
            concurrency: 120,
            destinations: Vec::new(),
            version: "0.1.0".to_owned(),
            uptime: 5,
            state_dir: "/var/lib/relayd".to_owned(),
            listeners: Vec::new(),
            certificates: Vec::new(),
            alarms: Vec::new(),
            reading: false,
            reports_suppressed: 0,
            rules: StandingRules::default(),
        }
    }

    fn shown(status: &Status) -> String {
        shown_with(status, 20)
    }

    fn shown_with(status: &Status, limit: usize) -> String {
        let (mut out, now) = (Vec::new(), UNIX_EPOCH + Duration::from_secs(1000));
        print_status(&mut out, status, limit, now).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn destinations_in_trouble_come_first_and_the_limit_holds() {
        let destination = |name: &str, waiting, trouble: Option<&str>| Destination {
            name: name.to_owned(),
            waiting,
            in_flight: 0,
            slots: 5,
            next_attempt: None,
            last_trouble: trouble.map(str::to_owned),
        };
        let mut status = Status {
            destinations: vec![
                destination("a.test", 5, None),
                destination("b.test", 7, None),
                destination("down.test", 1, Some("no route")),
                destination("left.test", 2, None),
            ],
            ..status()
        };
        status.rules.suspended = vec!["left.test".to_owned()];
        let shown = |limit| {
            let text = shown_with(&status, limit);
            let (_, rows) = text.split_once("last trouble\n").expect("a table");
            let first = |row: &str| row.split("  ").next().expect("a name").to_owned();
            rows.lines().map(first).collect::<Vec<_>>()
        };
        assert_eq!(shown(4), ["left.test", "down.test", "b.test", "a.test"]);
        assert_eq!(
            shown(2),
            ["left.test", "down.test", "and 2 more; --limit shows them"]
        );
    }

    #[test]
    fn the_output_begins_as_that_of_qmail_qstat() {
        let expected = "messages in queue: 360\nmessages in queue but not yet preprocessed: 0\n";
        assert!(shown(&status()).starts_with(expected));
    }

    #[test]
    fn an_unread_queue_and_suppressed_reports_are_shown() {
        assert!(!shown(&status()).contains("read") && !shown(&status()).contains("reports"));
        let status = Status {
            reading: true,
            reports_suppressed: 7,
            ..status()
        };
        let shown = shown(&status);
        assert!(shown.contains("the queue is still being read"), "{shown}");
        assert!(shown.contains("too many: 7\n"), "{shown}");
    }

    #[test]
    fn states_and_destinations_are_columns() {
        let slow = Destination {
            name: "slow.test".to_owned(),
            waiting: 348,
            in_flight: 1,
            slots: 2,
            next_attempt: Some(1400),
            last_trouble: Some("450 4.2.0 later".to_owned()),
        };
        let fast = Destination {
            name: "a".to_owned(),
            next_attempt: None,
            last_trouble: None,
            ..slow.clone()
        };
        let status = Status {
            damaged: 2,
            states: Messages {
                queued: 12,
                deferred: 348,
                in_flight: 1,
            },
            destinations: vec![fast, slow],
            rules: StandingRules {
                suspended: vec!["a".to_owned()],
                ..StandingRules::default()
            },
            ..status()
        };
        let expected = "\
messages in queue: 360
messages in queue but not yet preprocessed: 0
damaged messages set aside: 2 (in /var/lib/relayd/corrupt)
suspended: a

state         messages
queued              12
deferred           348
in-flight            1

destination   waiting  in-flight  slots  next attempt      last trouble
a                 348          1      2  suspended
slow.test         348          1      2  in 6m 40s         450 4.2.0 later
";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn each_alarm_and_each_expiring_certificate_has_a_line() {
        let certificate = |file: &str, days_left| Certificate {
            file: file.to_owned(),
            names: vec!["relay.test".to_owned()],
            expires: 1_795_230_600,
            days_left,
        };
        let status = Status {
            certificates: vec![
                certificate("/good.pem", 14),
                certificate("/soon.pem", 13),
                certificate("/over.pem", -1),
            ],
            alarms: vec![Alarm {
                about: "apikey@smart.test:587".to_owned(),
                since: 1_795_230_600,
                reason: "535 5.7.8 bad\r\n".to_owned(),
            }],
            ..status()
        };
        let expected = "\
messages in queue: 360
messages in queue but not yet preprocessed: 0
alarm: apikey@smart.test:587 since 21 Nov 2026 03:10:00 GMT: 535 5.7.8 bad\\r\\n
warning: the certificate in /soon.pem expires in 13 days: 21 Nov 2026 03:10:00 GMT
warning: the certificate in /over.pem has expired: 21 Nov 2026 03:10:00 GMT
";
        let shown = shown(&status);
        assert!(shown.starts_with(expected), "{shown}");
        assert!(!shown.contains("good.pem"));
    }
}
