//! `qstat`.

use std::io::Write;
use std::time::SystemTime;

use relay_control::Status;

use super::orders::write_orders;
use super::{date, safe, until};
use crate::failure::Failure;

/// qmail-qstat's two lines, then the counts by state and by destination.
pub(crate) fn qstat(out: &mut impl Write, status: &Status, now: SystemTime) -> Result<(), Failure> {
    write_status(out, status, now).map_err(Failure::Output)
}

fn write_status(out: &mut impl Write, status: &Status, now: SystemTime) -> std::io::Result<()> {
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
            safe(&status.state_dir)
        )?;
    }
    write_warnings(out, status)?;
    write_orders(out, &status.orders)?;
    let counts = status.states;
    writeln!(out)?;
    writeln!(out, "{:<12}{:>10}", "state", "messages")?;
    writeln!(out, "{:<12}{:>10}", "queued", counts.queued)?;
    writeln!(out, "{:<12}{:>10}", "deferred", counts.deferred)?;
    writeln!(out, "{:<12}{:>10}", "in-flight", counts.in_flight)?;
    write_destinations(out, status, now)
}

/// What needs the operator, a line for each.
fn write_warnings(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    for alarm in &status.alarms {
        let (about, reason) = (safe(&alarm.about), safe(&alarm.reason));
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
        let (file, end) = (safe(&certificate.file), date(certificate.expires));
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

fn write_destinations(
    out: &mut impl Write,
    status: &Status,
    now: SystemTime,
) -> std::io::Result<()> {
    let destinations = &status.destinations;
    if destinations.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = destinations.iter().map(|d| safe(&d.name)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = longest.unwrap_or_default().clamp("destination".len(), 60);
    writeln!(out)?;
    writeln!(
        out,
        "{:<width$}  {:>8}  {:>9}  {:>5}  {:<16}  last trouble",
        "destination", "waiting", "in-flight", "slots", "next attempt"
    )?;
    for (destination, name) in destinations.iter().zip(names) {
        let next = match destination.next_attempt {
            _ if status.orders.suspended.contains(&destination.name) => "suspended".to_owned(),
            Some(next) => until(next, now),
            None => String::new(),
        };
        let line = format!(
            "{name:<width$}  {:>8}  {:>9}  {:>5}  {:<16}  {}",
            destination.waiting,
            destination.in_flight,
            destination.slots,
            next,
            safe(destination.last_trouble.as_deref().unwrap_or_default()),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use relay_control::{Alarm, Books, Certificate, Destination, Messages, Orders};

    use super::*;

    fn status() -> Status {
        Status {
            messages: 360,
            fresh: 0,
            damaged: 0,
            states: Messages::default(),
            books: Books::default(),
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
            orders: Orders::default(),
        }
    }

    fn shown(status: &Status) -> String {
        let (mut out, now) = (Vec::new(), UNIX_EPOCH + Duration::from_secs(1000));
        qstat(&mut out, status, now).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn it_begins_with_qmails_two_lines() {
        let expected = "messages in queue: 360\nmessages in queue but not yet preprocessed: 0\n";
        assert!(shown(&status()).starts_with(expected));
    }

    #[test]
    fn a_relay_that_does_not_move_by_itself_says_so() {
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
            orders: Orders {
                suspended: vec!["a".to_owned()],
                ..Orders::default()
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
    fn alarms_and_certificates_that_end_soon_are_lines_of_their_own() {
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
