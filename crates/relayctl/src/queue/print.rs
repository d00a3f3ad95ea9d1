//! Prints messages for `qread`, `queue list` and `queue show`.

use std::io::{self, Write};

use relay_control::{Detail, PastAttempt, QueueEntry, Recipient, Verb, VerbResult, WaitsFor};
use relay_terminal::{date, escape};

use crate::error::RelayctlError;

/// Prints an entry as qmail-qread does: one line for the message, and one for each recipient.
pub(crate) fn print_qread(out: &mut dyn Write, entry: &QueueEntry) -> io::Result<()> {
    writeln!(
        out,
        "{}  #{}  {}  <{}>",
        date(entry.arrived),
        escape(&entry.id),
        entry.size,
        escape(&entry.sender)
    )?;
    for recipient in &entry.recipients {
        let done = if recipient.state.is_settled() {
            "  done"
        } else {
            ""
        };
        writeln!(out, "{done}\tremote\t{}", escape(&recipient.address))?;
    }
    Ok(())
}

/// Prints one line for the message, one for the state of each recipient, and one for the last reply
/// to the recipient if there is one.
pub(crate) fn print_entry(out: &mut dyn Write, entry: &QueueEntry) -> io::Result<()> {
    let held = if entry.held { "  held" } else { "" };
    writeln!(
        out,
        "{}  {}  {} bytes  from <{}>{held}",
        escape(&entry.id),
        date(entry.arrived),
        entry.size,
        escape(&entry.sender)
    )?;
    entry.recipients.iter().try_for_each(|r| recipient(out, r))
}

fn recipient(out: &mut dyn Write, recipient: &Recipient) -> io::Result<()> {
    let state = recipient.state.name();
    write!(out, "    {state:<9}  <{}>", escape(&recipient.address))?;
    match recipient.attempts {
        0 => {}
        1 => write!(out, "  1 attempt")?,
        attempts => write!(out, "  {attempts} attempts")?,
    }
    if let Some(next) = recipient.next_attempt {
        write!(out, "  next {}", date(next))?;
    }
    if recipient.waits_for == Some(WaitsFor::Resume) {
        write!(out, "  suspended")?;
    }
    writeln!(out)?;
    match (&recipient.host, &recipient.last_reply) {
        (Some(host), Some(reply)) => {
            writeln!(out, "               {}: {}", escape(host), escape(reply))
        }
        (None, Some(reply)) => writeln!(out, "               {}", escape(reply)),
        (_, None) => Ok(()),
    }
}

/// Prints how many messages matched and how many a verb has changed.
pub(crate) fn print_result(
    out: &mut impl Write,
    verb: Verb,
    result: &VerbResult,
) -> Result<(), RelayctlError> {
    let done = match verb {
        Verb::Retry => "tried now",
        Verb::Hold => "held",
        Verb::Release => "released",
        Verb::Delete => "deleted",
        Verb::Bounce => "returned to their senders",
    };
    let VerbResult {
        matched,
        changed,
        pending,
        untold,
        ..
    } = result;
    let at_once = changed.saturating_sub(pending.saturating_add(*untold));
    let mut line = format!("messages {done}: {at_once} of {matched}");
    if *untold > 0 {
        line = format!("{line}; given up without a report: {untold}");
    }
    if *pending > 0 {
        line = format!("{line}; to be returned if the running attempt fails: {pending}");
    }
    writeln!(out, "{line}").map_err(RelayctlError::Output)
}

/// Prints everything about one message.
pub(crate) fn print_detail(out: &mut impl Write, detail: &Detail) -> Result<(), RelayctlError> {
    write_detail(out, detail).map_err(RelayctlError::Output)
}

fn write_detail(out: &mut impl Write, detail: &Detail) -> io::Result<()> {
    let mut notes = Vec::new();
    for (holds, note) in [
        (detail.held, "held"),
        (detail.eight_bit, "8BITMIME"),
        (detail.utf8, "SMTPUTF8"),
    ] {
        notes.extend(holds.then_some(note));
    }
    writeln!(out, "message   {}", escape(&detail.id))?;
    writeln!(out, "sender    <{}>", escape(&detail.sender))?;
    writeln!(out, "arrived   {}", date(detail.arrived))?;
    writeln!(out, "size      {} bytes", detail.size)?;
    if !notes.is_empty() {
        writeln!(out, "notes     {}", notes.join(", "))?;
    }
    for recipient in &detail.recipients {
        let listed = &recipient.recipient;
        writeln!(out)?;
        writeln!(out, "recipient <{}>", escape(&listed.address))?;
        writeln!(out, "  state        {}", listed.state.name())?;
        writeln!(out, "  destination  {}", escape(&recipient.destination))?;
        writeln!(out, "  attempts     {}", listed.attempts)?;
        if let Some(next) = listed.next_attempt {
            writeln!(out, "  next         {}", date(next))?;
        }
        if let Some(reason) = listed.waits_for.and_then(waits_for) {
            writeln!(out, "  waits for    {reason}")?;
        }
        // The last attempt is the most important one.
        for made in recipient.history.iter().rev() {
            attempt(out, made)?;
        }
    }
    Ok(())
}

fn waits_for(reason: WaitsFor) -> Option<&'static str> {
    match reason {
        WaitsFor::Release => Some("its release: it is held"),
        WaitsFor::Resume => Some("its destination, which is suspended"),
        WaitsFor::Destination => Some("its destination, which is left alone until then"),
        WaitsFor::Time => Some("its time"),
        WaitsFor::Slot => Some("its turn at the destination"),
        WaitsFor::Unknown => None,
    }
}

fn attempt(out: &mut impl Write, attempt: &PastAttempt) -> io::Result<()> {
    writeln!(out, "  attempt      {}", date(attempt.at))?;
    writeln!(
        out,
        "    result     {} {}",
        escape(&attempt.verdict),
        escape(&attempt.status)
    )?;
    match (&attempt.host, &attempt.address) {
        (Some(host), Some(address)) => {
            writeln!(out, "    host       {} ({})", escape(host), escape(address))?;
            let tls = attempt.tls.as_deref().unwrap_or("none");
            writeln!(out, "    tls        {}", escape(tls))?;
        }
        (Some(host), None) => writeln!(out, "    host       {}", escape(host))?,
        _ => {}
    }
    writeln!(out, "    command    {}", escape(&attempt.stage))?;
    if let Some(reply) = &attempt.reply {
        writeln!(out, "    reply      {}", escape(reply))?;
    }
    match &attempt.detail {
        Some(detail) => writeln!(out, "    reason     {}", escape(detail)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use relay_control::{DeliveryState, Origin, RecipientDetail};

    use super::*;

    fn recipients() -> Vec<Recipient> {
        let done = Recipient {
            address: "done@a.test".to_owned(),
            state: DeliveryState::Done,
            attempts: 1,
            next_attempt: None,
            waits_for: None,
            last_reply: None,
            host: None,
        };
        let late = Recipient {
            address: "late@b.test".to_owned(),
            state: DeliveryState::Deferred,
            attempts: 2,
            next_attempt: Some(1_795_230_660),
            waits_for: Some(WaitsFor::Time),
            last_reply: Some("450 4.2.0 later".to_owned()),
            host: Some("mx.b.test".to_owned()),
        };
        vec![done, late]
    }

    fn message() -> QueueEntry {
        QueueEntry {
            id: "06Q3ZV9WQ0K4D".to_owned(),
            sender: "s@a.test".to_owned(),
            arrived: 1_795_230_600,
            size: 1234,
            held: true,
            recipients: recipients(),
        }
    }

    #[test]
    fn qread_prints_what_qmail_qread_prints() {
        let mut out = Vec::new();
        print_qread(&mut out, &message()).expect("memory");
        let expected = "21 Nov 2026 03:10:00 GMT  #06Q3ZV9WQ0K4D  1234  <s@a.test>\n  \
            done\tremote\tdone@a.test\n\tremote\tlate@b.test\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn the_list_shows_the_state_of_each_recipient_and_the_last_reply() {
        let mut out = Vec::new();
        print_entry(&mut out, &message()).expect("memory");
        let expected = "\
06Q3ZV9WQ0K4D  21 Nov 2026 03:10:00 GMT  1234 bytes  from <s@a.test>  held
    done       <done@a.test>  1 attempt
    deferred   <late@b.test>  2 attempts  next 21 Nov 2026 03:11:00 GMT
               mx.b.test: 450 4.2.0 later
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn messages_given_up_without_a_report_are_counted_separately() {
        let answer = |pending, untold| VerbResult {
            matched: 9,
            changed: 8,
            pending,
            untold,
            ..VerbResult::default()
        };
        for (answer, expected) in [
            (answer(0, 0), "8 of 9\n"),
            (answer(0, 3), "5 of 9; given up without a report: 3\n"),
            (
                answer(1, 3),
                "4 of 9; given up without a report: 3; to be returned if the running \
                 attempt fails: 1\n",
            ),
        ] {
            let mut out = Vec::new();
            print_result(&mut out, Verb::Bounce, &answer).expect("memory");
            let shown = String::from_utf8(out).expect("text");
            assert_eq!(
                shown,
                format!("messages returned to their senders: {expected}")
            );
        }
    }

    #[test]
    fn one_message_is_shown_with_all_its_attempts() {
        let last = PastAttempt {
            at: 1_795_230_601,
            verdict: "deferred".to_owned(),
            status: "4.2.0".to_owned(),
            stage: "RCPT TO".to_owned(),
            host: Some("mx.b.test".to_owned()),
            address: Some("192.0.2.1:25".to_owned()),
            tls: None,
            reply: Some("450 4.2.0 later".to_owned()),
            detail: None,
        };
        let first = PastAttempt {
            at: 1_795_230_600,
            status: "4.4.2".to_owned(),
            stage: "EHLO".to_owned(),
            tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384 verified".to_owned()),
            reply: None,
            detail: Some("the connection was lost".to_owned()),
            ..last.clone()
        };
        let whole = Detail {
            id: "06Q3ZV9WQ0K4D".to_owned(),
            sender: String::new(),
            arrived: 1_795_230_600,
            size: 1234,
            held: false,
            origin: Origin::Client,
            eight_bit: true,
            utf8: false,
            recipients: vec![RecipientDetail {
                recipient: recipients().remove(1),
                destination: "b.test".to_owned(),
                history: vec![first, last],
            }],
        };
        let mut out = Vec::new();
        print_detail(&mut out, &whole).expect("memory");
        let expected = "\
message   06Q3ZV9WQ0K4D
sender    <>
arrived   21 Nov 2026 03:10:00 GMT
size      1234 bytes
notes     8BITMIME

recipient <late@b.test>
  state        deferred
  destination  b.test
  attempts     2
  next         21 Nov 2026 03:11:00 GMT
  waits for    its time
  attempt      21 Nov 2026 03:10:01 GMT
    result     deferred 4.2.0
    host       mx.b.test (192.0.2.1:25)
    tls        none
    command    RCPT TO
    reply      450 4.2.0 later
  attempt      21 Nov 2026 03:10:00 GMT
    result     deferred 4.4.2
    host       mx.b.test (192.0.2.1:25)
    tls        TLSv1.3 TLS13_AES_256_GCM_SHA384 verified
    command    EHLO
    reason     the connection was lost
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
