//! `trace`: prints the events of messages as they happen.

use std::io::Write;

use clap::Args;
use relay_control::path;
use relay_terminal::{escape, escape_json};
use serde_json::Value;

use crate::client::{Client, query};
use crate::error::RelayctlError;

/// What to follow.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Subject {
    /// Follow this message until it leaves the queue
    id: Option<String>,

    /// Follow every message to this domain
    #[arg(long)]
    domain: Option<String>,
}

/// Prints a line for each event until the message has left the queue or this is interrupted.
pub(crate) async fn run(
    subject: &Subject,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let pairs = [("id", &subject.id), ("domain", &subject.domain)];
    let pairs = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone()?)));
    let parameters = query(pairs);
    let mut lines = client
        .lines(&format!("{}?{parameters}", path::EVENTS))
        .await?;
    while let Some(line) = lines.next().await? {
        // An empty line shows that the daemon is still there.
        if line.is_empty() {
            continue;
        }
        let event: Value = serde_json::from_slice(line).map_err(RelayctlError::answer)?;
        let written = if json {
            writeln!(out, "{}", escape_json(&event.to_string()))
        } else {
            writeln!(out, "{}", shown(&event))
        };
        // A program that reads the pipe waits for this line.
        written
            .and_then(|()| out.flush())
            .map_err(RelayctlError::Output)?;
    }
    Ok(())
}

/// Formats an event with its time and message. A delivery also has the recipient and the host.
fn shown(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let mut shown = format!("{} {}", text("time"), text("message"));
    for name in ["to", "relay", "dsn"] {
        let value = text(name);
        if event["event"] == "delivery" && !value.is_empty() {
            shown = format!("{shown} {name}={value}");
        }
    }
    escape(shown.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_without_control_characters() {
        for (json, expected) in [
            (
                r#"{"time":"2026-11-21T03:10:00.123Z","event":"end msg","message":"end msg 06Q","id":"06Q"}"#,
                "2026-11-21T03:10:00.123Z end msg 06Q",
            ),
            (
                r#"{"time":"T","event":"delivery","message":"delivery 1: deferral: 450 \u001b[2J\r\nx","to":"u@a.test","relay":"","dsn":"4.2.0"}"#,
                "T delivery 1: deferral: 450 \\u{1b}[2J\\r\\nx to=u@a.test dsn=4.2.0",
            ),
            (
                r#"{"event":"missed","lines":7,"message":"7 events were left out"}"#,
                "7 events were left out",
            ),
        ] {
            let event = serde_json::from_str(json).expect("JSON");
            assert_eq!(shown(&event), expected);
        }
    }
}
