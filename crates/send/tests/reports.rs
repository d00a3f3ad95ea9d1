//! The text of reports: three parts that programs can read, and no text from a hostile peer or
//! client that could pass as the relay's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::{
    Envelope, HISTORY, Message, NewMessage, Origin, QueueId, Recipient, RecipientChange,
    RecipientState,
};
use relay_send::bounce::{Addressee, MAX_HEADERS, Notice, Original, ReportKind, Reporter};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

const HEADERS: &[u8] = b"Received: by relay.test\r\nSubject: hello\r\n\r\n";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn reporter() -> Reporter {
    Reporter {
        hostname: "relay.test".into(),
        postmaster: "postmaster@home.test".parse().expect("a good address"),
    }
}

fn message(from: &str, to: &[&str]) -> Message {
    let recipient =
        |to: &&str| Recipient::from(to.parse::<relay_smtp::ForwardPath>().expect("good"));
    let envelope = Envelope {
        sender: from.parse().expect("a good address"),
        recipients: to.iter().map(recipient).collect(),
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    };
    Message::new(QueueId::from_bits(7), at(0), Origin::Client, envelope, 100)
}

fn refused(reply: Reply) -> Outcome {
    Outcome {
        verdict: Verdict::Failed,
        status: EnhancedStatus::permanent(1, 1),
        stage: Stage::Rcpt,
        peer: Some(Peer {
            host: "mx.far.test".into(),
            address: ([192, 0, 2, 1], 25).into(),
            tls: None,
        }),
        reply: Some(reply),
        detail: String::new(),
    }
}

fn no_such_user() -> Outcome {
    refused(Reply::new(550, 1, 1, "no such user"))
}

fn fail(message: &mut Message, outcome: &Outcome) {
    let change = |index| RecipientChange {
        index,
        state: RecipientState::Failed { reported: false },
        attempt: Some((at(60), outcome.clone())),
    };
    let all = (0..message.recipients.len()).map(change).collect();
    message.apply(all);
}

fn report_on(message: &Message, kind: ReportKind, original: Original) -> Option<NewMessage> {
    let notice = Notice {
        message,
        kind,
        recipients: message.recipients.iter().collect(),
        trouble: None,
        original,
    };
    reporter().report(QueueId::from_bits(8), &notice, at(100))
}

fn failure(message: &Message, original: Original) -> NewMessage {
    report_on(message, ReportKind::Failed, original).expect("the report has an addressee")
}

/// A report parsed as a MIME reader does it (RFC 2046 §5.1.1).
struct Read {
    header: String,
    parts: Vec<(String, String)>,
}

fn read(report: &NewMessage) -> Read {
    let text = std::str::from_utf8(&report.body).expect("UTF-8");
    let (header, body) = text.split_once("\r\n\r\n").expect("a header section");
    let (_, boundary) = header.split_once("boundary=\"").expect("a boundary");
    let (boundary, _) = boundary.split_once('"').expect("the end of the boundary");
    assert!(boundary.len() <= 70, "RFC 2046 §5.1.1");
    let delimiter = format!("\r\n--{boundary}");
    let body = format!("\r\n{body}");
    let mut pieces = body.split(&delimiter);
    assert_eq!(pieces.next(), Some(""), "no preamble");
    let mut parts: Vec<&str> = pieces.collect();
    assert_eq!(
        parts.pop(),
        Some("--\r\n"),
        "the end, and nothing behind it"
    );
    let part = |part: &str| {
        let part = part
            .strip_prefix("\r\n")
            .expect("a delimiter ends its line");
        let (header, content) = part.split_once("\r\n\r\n").expect("a header and a content");
        (header.to_owned(), content.to_owned())
    };
    Read {
        header: header.to_owned(),
        parts: parts.into_iter().map(part).collect(),
    }
}

/// Parses blocks of fields, and unfolds them.
fn fields(status: &str) -> Vec<Vec<(String, String)>> {
    let status = status.replace("\r\n    ", " ");
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_owned(), value.to_owned())
    };
    let block = |block: &str| {
        block
            .split("\r\n")
            .filter(|l| !l.is_empty())
            .map(field)
            .collect()
    };
    status.split("\r\n\r\n").map(block).collect()
}

fn value<'a>(block: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = block.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn a_failure_report_has_a_text_fields_for_programs_and_the_headers() {
    let mut message = message("me@home.test", &["you@far.test", "she@far.test"]);
    fail(&mut message, &no_such_user());
    let report = failure(&message, Original::Start(HEADERS));
    assert_eq!(report.origin, Origin::Bounce);
    assert_eq!(report.envelope.sender.as_str(), "");
    let Read { header, parts } = read(&report);
    assert!(header.contains("To: <me@home.test>\r\n"));
    assert!(header.contains("multipart/report; report-type=delivery-status;"));
    let types: Vec<&str> = parts
        .iter()
        .map(|(h, _)| h.lines().next().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "Content-Type: text/plain; charset=us-ascii",
            "Content-Type: message/delivery-status",
            "Content-Type: text/rfc822-headers"
        ]
    );
    assert!(parts[0].1.contains("<you@far.test>:") && parts[0].1.contains("no such user"));
    let blocks = fields(&parts[1].1);
    assert_eq!(blocks.len(), 3);
    assert_eq!(value(&blocks[0], "Reporting-MTA"), Some("dns; relay.test"));
    assert_eq!(
        value(&blocks[1], "Final-Recipient"),
        Some("rfc822; you@far.test")
    );
    assert_eq!(value(&blocks[1], "Action"), Some("failed"));
    assert_eq!(value(&blocks[1], "Status"), Some("5.1.1"));
    assert_eq!(value(&blocks[1], "Remote-MTA"), Some("dns; mx.far.test"));
    assert_eq!(
        value(&blocks[1], "Diagnostic-Code"),
        Some("smtp; 550 5.1.1 no such user")
    );
    assert_eq!(
        value(&blocks[2], "Final-Recipient"),
        Some("rfc822; she@far.test")
    );
    assert_eq!(parts[2].1, "Received: by relay.test\r\nSubject: hello\r\n");
}

#[test]
fn text_from_a_peer_cannot_forge_a_line_field_or_part() {
    let mut message = message("me@home.test", &["you@far.test"]);
    let hostile = format!(
        "x\r\n\r\nFinal-Recipient: rfc822; other@far.test\r\nAction: delivered\r\n\r\n\
         --report-{}\r\nContent-Type: text/html\r\n\r\n\u{1b}[2J\u{202e}\0{}",
        QueueId::from_bits(8),
        "y".repeat(5000)
    );
    let mut outcome = no_such_user();
    outcome.detail.clone_from(&hostile);
    for reply in [Some(Reply::new(550, 1, 1, hostile.clone())), None] {
        outcome.reply = reply;
        let peer = outcome.peer.as_mut().expect("there is one");
        peer.host.clone_from(&hostile);
        fail(&mut message, &outcome);
        let report = failure(&message, Original::Start(HEADERS));
        assert!(report.body.is_ascii() && !report.envelope.eight_bit);
        assert!(
            report
                .body
                .iter()
                .all(|c| matches!(c, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
        );
        let Read { parts, .. } = read(&report);
        assert_eq!(parts.len(), 3);
        let blocks = fields(&parts[1].1);
        assert_eq!(blocks.len(), 2);
        assert_eq!(value(&blocks[1], "Action"), Some("failed"));
        let longest = report.body.split(|&c| c == b'\n').map(<[u8]>::len).max();
        assert!(longest < Some(1000), "RFC 5322 §2.1.1: {longest:?}");
    }
}

#[test]
fn headers_that_look_like_the_boundary_end_no_part() {
    let mut message = message("me@home.test", &["you@far.test"]);
    fail(&mut message, &no_such_user());
    let id = QueueId::from_bits(8);
    let headers = format!("Subject: a\r\n --report-{id}\r\n--report-{id}-1.--\r\nTo: b\r\n\r\n");
    for original in [
        Original::Start(headers.as_bytes()),
        Original::Whole(headers.as_bytes()),
    ] {
        let Read { parts, .. } = read(&failure(&message, original));
        assert_eq!(parts.len(), 3);
        assert!(parts[2].1.contains("To: b"));
    }
}

#[test]
fn headers_are_quoted_in_whole_lines_up_to_the_bound_without_the_body() {
    let mut message = message("me@home.test", &["you@far.test"]);
    fail(&mut message, &no_such_user());
    let mut octets = b"Subject: \xff\x00\r\n".to_vec();
    octets.extend(b"X: 0123456789\r\n".repeat(5000));
    let Read { parts, .. } = read(&failure(&message, Original::Start(&octets)));
    let quoted = &parts[2].1;
    assert!(quoted.starts_with("Subject: ??\r\nX: 0123456789\r\n"));
    assert!(quoted.ends_with("\r\nX: 0123456789\r\n"));
    assert!((MAX_HEADERS - 20..=MAX_HEADERS).contains(&quoted.len()));
    let short = Original::Start(b"Subject: a\r\n\r\nbody\r\n");
    assert!(!read(&failure(&message, short)).parts[2].1.contains("body"));
}

#[test]
fn an_original_returned_whole_is_complete_and_declares_eight_bit_data() {
    let mut message = message("me@home.test", &["you@far.test"]);
    fail(&mut message, &no_such_user());
    for (octets, content_type, eight_bit) in [
        ("Subject: a\r\n\r\nbody\r\n", "message/rfc822", false),
        ("Subject: a\r\n\r\nb\u{f6}dy\r\n", "message/rfc822", true),
        ("Subject: \u{e4}\r\n\r\nbody\r\n", "message/global", true),
    ] {
        let report = failure(&message, Original::Whole(octets.as_bytes()));
        assert_eq!(report.envelope.eight_bit, eight_bit, "{octets}");
        assert!(!report.envelope.utf8);
        let Read { parts, .. } = read(&report);
        let encoding = if eight_bit { "8bit" } else { "7bit" };
        let expected =
            format!("Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}");
        assert_eq!(
            (parts[2].0.as_str(), parts[2].1.as_str()),
            (expected.as_str(), octets)
        );
    }
}

#[test]
fn a_failure_without_a_sender_is_not_reported_and_a_failed_bounce_goes_to_the_postmaster_once() {
    let mut failing = message("", &["you@far.test"]);
    fail(&mut failing, &no_such_user());
    assert!(report_on(&failing, ReportKind::Failed, Original::Start(HEADERS)).is_none());
    failing.origin = Origin::Bounce;
    let report = failure(&failing, Original::Start(HEADERS));
    assert_eq!(report.origin, Origin::DoubleBounce);
    assert_eq!(
        report.envelope.recipients[0].path.as_str(),
        "postmaster@home.test"
    );
    assert_eq!(report.envelope.sender.as_str(), "");
    failing.origin = Origin::DoubleBounce;
    assert_eq!(reporter().addressee(&failing), Addressee::Nobody);
    assert!(report_on(&failing, ReportKind::Failed, Original::Start(HEADERS)).is_none());
}

#[test]
fn a_bounce_is_reported_only_if_it_fails() {
    let mut bounce = message("", &["you@far.test"]);
    bounce.origin = Origin::Bounce;
    for kind in [ReportKind::Relayed, ReportKind::Delayed { until: at(9) }] {
        assert!(report_on(&bounce, kind, Original::Start(HEADERS)).is_none());
    }
}

#[test]
fn envid_and_orcpt_are_returned_decoded() {
    let mut message = message("me@home.test", &["you@far.test"]);
    message.dsn.envid = Some("QQ+2B314159".parse().expect("a good ENVID"));
    message.recipients[0].to.orcpt = Some("rfc822;first+2Btag@orig.test".parse().expect("good"));
    fail(&mut message, &no_such_user());
    let blocks = fields(&read(&failure(&message, Original::Start(HEADERS))).parts[1].1);
    assert_eq!(value(&blocks[0], "Original-Envelope-Id"), Some("QQ+314159"));
    let original = value(&blocks[1], "Original-Recipient");
    assert_eq!(original, Some("rfc822;first+tag@orig.test"));
}

#[test]
fn the_envelope_id_is_returned_with_all_its_spaces_on_one_line() {
    let mut message = message("me@home.test", &["you@far.test"]);
    let id = format!("{}  {}", "a".repeat(50), "b".repeat(40));
    let xtext = id.replace(' ', "+20");
    message.dsn.envid = Some(xtext.parse().expect("a good ENVID"));
    fail(&mut message, &no_such_user());
    let report = read(&failure(&message, Original::Start(HEADERS)));
    let line = format!("Original-Envelope-Id: {id}\r\n");
    assert!(report.parts[1].1.contains(&line), "{}", report.parts[1].1);
}

#[test]
fn an_original_address_of_the_type_utf_8_is_escaped_even_if_it_is_ascii() {
    let mut message = message("me@home.test", &["you@far.test"]);
    let orcpt = "utf-8;a\\x{2B}b\\x{3D}c\\x{5C}@orig.test";
    message.recipients[0].to.orcpt = Some(orcpt.parse().expect("good"));
    fail(&mut message, &no_such_user());
    let blocks = fields(&read(&failure(&message, Original::Start(HEADERS))).parts[1].1);
    assert_eq!(value(&blocks[1], "Original-Recipient"), Some(orcpt));
}

#[test]
fn a_delay_notice_states_its_deadline_and_no_failure() {
    let mut message = message("me@home.test", &["you@far.test", "she@far.test"]);
    let mut outcome = no_such_user();
    outcome.verdict = Verdict::Deferred;
    outcome.status = EnhancedStatus::transient(2, 0);
    outcome.reply = Some(Reply::new(450, 2, 0, "later"));
    let change = RecipientChange {
        index: 0,
        state: RecipientState::Deferred {
            next_attempt: at(400),
        },
        attempt: Some((at(60), outcome)),
    };
    message.apply(vec![change]);
    let kind = ReportKind::Delayed { until: at(432_000) };
    let report = report_on(&message, kind, Original::Start(HEADERS)).expect("a sender");
    let Read { header, parts } = read(&report);
    assert!(header.contains("Subject: delay notice"));
    assert!(!parts[0].1.contains("final"));
    let blocks = fields(&parts[1].1);
    assert_eq!(value(&blocks[1], "Action"), Some("delayed"));
    assert_eq!(value(&blocks[1], "Status"), Some("4.2.0"));
    assert!(value(&blocks[1], "Will-Retry-Until").is_some());
    assert_eq!(value(&blocks[2], "Status"), Some("4.0.0"), "never tried");
}

#[test]
fn the_report_of_an_expired_message_says_so_and_has_the_last_real_reply() {
    let mut message = message("me@home.test", &["you@far.test"]);
    let mut outcome = no_such_user();
    outcome.verdict = Verdict::Deferred;
    outcome.reply = Some(Reply::new(450, 2, 0, "later"));
    fail(&mut message, &outcome);
    let Read { parts, .. } = read(&failure(&message, Original::Start(HEADERS)));
    assert!(parts[0].1.contains("stayed in the queue for too long"));
    let blocks = fields(&parts[1].1);
    assert_eq!(value(&blocks[1], "Status"), Some("4.4.7"));
    assert_eq!(
        value(&blocks[1], "Diagnostic-Code"),
        Some("smtp; 450 4.2.0 later")
    );
}

#[test]
fn addresses_beyond_ascii_are_reported_unchanged() {
    let mut message = message("me@home.test", &["\u{fc}+tag@far.test", "you@far.test"]);
    message.recipients[1].to.orcpt = Some("utf-8;\\x{FC}@orig.test".parse().expect("good"));
    fail(&mut message, &no_such_user());
    let headers = Original::Start("Subject: gr\u{fc}n\r\n\r\n".as_bytes());
    let report = failure(&message, headers);
    assert!(
        report.envelope.eight_bit && !report.envelope.utf8,
        "its header is ASCII"
    );
    let Read { header, parts } = read(&report);
    assert!(header.is_ascii());
    assert!(
        parts[0]
            .0
            .starts_with("Content-Type: text/plain; charset=utf-8\r\n")
    );
    assert!(
        parts[1]
            .0
            .starts_with("Content-Type: message/global-delivery-status\r\n")
    );
    assert!(
        parts[2]
            .0
            .starts_with("Content-Type: message/global-headers\r\n")
    );
    assert_eq!(parts[2].1, "Subject: gr\u{fc}n\r\n");
    let blocks = fields(&parts[1].1);
    // RFC 6533 §3: a plus sign is not written as itself in either form.
    let expected = "utf-8; \u{fc}\\x{2B}tag@far.test";
    assert_eq!(value(&blocks[1], "Final-Recipient"), Some(expected));
    let expected = "utf-8;\u{fc}@orig.test";
    assert_eq!(value(&blocks[2], "Original-Recipient"), Some(expected));
}

#[test]
fn a_report_to_an_address_beyond_ascii_needs_smtputf8() {
    let mut message = message("\u{fc}@home.test", &["you@far.test"]);
    fail(&mut message, &no_such_user());
    let report = failure(&message, Original::Start(HEADERS));
    assert!(report.envelope.utf8 && report.envelope.eight_bit);
}

#[test]
fn a_report_on_very_many_recipients_names_all_and_stays_deliverable() {
    let addresses: Vec<String> = (0..5000).map(|n| format!("u{n}@far.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut message = message("me@home.test", &addresses);
    for _ in 0..HISTORY {
        fail(
            &mut message,
            &refused(Reply::new(550, 1, 1, "n".repeat(500))),
        );
    }
    let report = failure(&message, Original::Start(HEADERS));
    let Read { parts, .. } = read(&report);
    assert_eq!(fields(&parts[1].1).len(), 5001);
    assert!(report.body.len() < 1_000_000, "{}", report.body.len());
}
