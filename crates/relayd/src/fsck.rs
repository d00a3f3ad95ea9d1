//! `relayd fsck`: checks and repairs the queue while the relay does not run.

use std::io::{self, Write};
use std::path::Path;

pub use relay_queue::fsck::Mode;
use relay_queue::fsck::{Finding, check};

use crate::statedir;

/// Prints one line for each finding and a summary. Returns whether the queue is sound.
pub fn run(state_dir: &Path, mode: Mode, out: &mut impl Write) -> Result<bool, String> {
    statedir::check_owner(state_dir)?;
    let mut written = Ok(());
    let mut tell = |finding: &Finding| {
        // The name of a file in `mess/` may contain anything, so it is escaped.
        let line = finding.to_string().escape_debug().to_string();
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    };
    let summary = check(state_dir, mode, &mut tell)
        .map_err(|reason| format!("state_dir {}: {reason}", state_dir.display()))?;
    let told = |reason: io::Error| format!("standard output: {reason}");
    written.map_err(told)?;
    let (sound, findings) = (summary.sound, summary.findings);
    let corrupt = state_dir.join("corrupt");
    let outcome = match (findings, mode) {
        (0, _) => "nothing is wrong".to_owned(),
        (_, Mode::Check) => "relayd fsck --repair sets aside what is damaged".to_owned(),
        (_, Mode::Repair) => format!("what was damaged is in {}", corrupt.display()),
    };
    writeln!(
        out,
        "sound messages: {sound}, findings: {findings}; {outcome}"
    )
    .map_err(told)?;
    Ok(findings == 0)
}
