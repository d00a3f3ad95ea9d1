//! `queue export`: prints the queue as a stream, for `relayd import` on another machine.

use std::io::{self, IsTerminal, Write};

use relay_control::{Filter, path};

use super::{found, with_query};
use crate::client::Client;
use crate::error::RelayctlError;

/// More octets than the last line of a stream has.
const TAIL: usize = 100;

/// Copies the stream to standard output and reports the counts in its last line.
pub(super) async fn run(
    filter: &Filter,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    if io::stdout().is_terminal() {
        let reason = "refusing to write the stream to a terminal: redirect it to a file or a pipe";
        return Err(RelayctlError::Refused(reason.to_owned()));
    }
    let mut stream = client.octets(&with_query(path::EXPORT, filter)?).await?;
    let mut tail = Vec::new();
    while let Some(octets) = stream.next().await? {
        out.write_all(&octets).map_err(RelayctlError::Output)?;
        let behind = octets.len().saturating_sub(TAIL);
        tail.extend_from_slice(&octets[behind..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    // The stream must be written completely before the report of it.
    out.flush().map_err(RelayctlError::Output)?;
    let (messages, damaged) =
        end(&tail).ok_or_else(|| RelayctlError::answer("the stream has no end"))?;
    if damaged > 0 {
        return Err(RelayctlError::Refused(format!(
            "messages exported: {messages}; {damaged} are damaged and were set aside: \
             relayctl qstat shows where"
        )));
    }
    found(filter, messages > 0, out)?;
    // If standard error is closed, the exit code has to be enough.
    let _ = writeln!(io::stderr(), "messages exported: {messages}");
    Ok(())
}

/// Parses the last line: the number of messages, and of damaged ones.
fn end(tail: &[u8]) -> Option<(u64, u64)> {
    let tail = String::from_utf8_lossy(tail.strip_suffix(b"\n")?);
    let line = tail.rsplit('\n').next()?;
    let (messages, damaged) = line.strip_prefix("end ")?.split_once(' ')?;
    Some((messages.parse().ok()?, damaged.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_its_last_line_is_incomplete() {
        for (tail, expected) in [
            ("sum 01234567\nend 12 3\n", Some((12, 3))),
            ("end 0 0\n", Some((0, 0))),
            ("end 12 3", None),
            ("end 12\n", None),
            ("end 12 3\nsum 0\n", None),
            ("", None),
        ] {
            assert_eq!(end(tail.as_bytes()), expected, "{tail:?}");
        }
    }
}
