//! Prints the findings.

use std::io::{self, Write};

use super::{Finding, Level, Report};
use relay_terminal::escape;

/// Prints one line for each finding.
pub(super) fn report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut findings = report.findings.iter();
    findings.try_for_each(|finding| line(out, finding))
}

fn line(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Fail => "fail",
    };
    let (about, text) = (finding.about, escape(&finding.text));
    write!(out, "{level:<4}  {about:<8}  {text}")?;
    match &finding.record {
        Some(record) => writeln!(out, "; add to the DNS: {}", escape(record)),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_the_record_at_its_end() {
        let findings = vec![Finding {
            level: Level::Fail,
            about: "PTR",
            text: "no\nname".to_owned(),
            record: Some("7.in-addr.arpa. IN PTR a.test.".to_owned()),
        }];
        let domain = "a.test".to_owned();
        let shown = Report {
            domain,
            addresses: Vec::new(),
            findings,
        };
        let mut out = Vec::new();
        report(&mut out, &shown).expect("memory");
        let expected =
            "fail  PTR       no\\nname; add to the DNS: 7.in-addr.arpa. IN PTR a.test.\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
