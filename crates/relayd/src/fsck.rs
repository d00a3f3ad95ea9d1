//! `relayd fsck`: checks and repairs the queue while the relay does not run.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use relay_message::StoreError;
pub use relay_queue::fsck::Mode;
use relay_queue::fsck::{Finding, check};

use crate::statedir::{self, OwnerError};

/// Why a check could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The state directory belongs to another user.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// There is no queue, a relay uses it, or it cannot be read.
    #[error("state_dir {}: {source}", dir.display())]
    Queue {
        /// The state directory.
        dir: PathBuf,
        /// The error of the store.
        source: StoreError,
    },
    /// The findings cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Prints one line for each finding and a summary. Returns whether the queue is sound.
pub fn run(state_dir: &Path, mode: Mode, out: &mut impl Write) -> Result<bool, FsckError> {
    statedir::check_owner(state_dir)?;
    let mut written = Ok(());
    let mut report = |finding: &Finding| {
        // The name of a file in `mess/` may contain anything, so it is escaped.
        let line = finding.to_string().escape_debug().to_string();
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    };
    let summary = check(state_dir, mode, &mut report).map_err(|source| FsckError::Queue {
        dir: state_dir.to_owned(),
        source,
    })?;
    written?;
    let (sound, findings) = (summary.sound, summary.findings);
    let corrupt = state_dir.join("corrupt");
    let outcome = match (findings, mode) {
        (0, _) => "nothing is wrong".to_owned(),
        (_, Mode::Check) => "run relayd fsck --repair to set damaged data aside".to_owned(),
        (_, Mode::Repair) => format!("damaged data was moved to {}", corrupt.display()),
    };
    writeln!(
        out,
        "sound messages: {sound}, findings: {findings}; {outcome}"
    )?;
    Ok(findings == 0)
}
