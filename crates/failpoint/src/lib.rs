//! Points at which a test build of the relay aborts, and disk operations that it skips or fails.
//!
//! The guarantees of the relay must hold whenever a crash happens. A build with the feature
//! `crash-points` aborts at the point that the environment variable `RELAY_CRASH_AT` names:
//! `synced` means the first time that this point is reached, `synced:3` the third time.
//!
//! A test of power loss must fail for a relay that does not sync, or it proves nothing. To show
//! this, `RELAY_LEAVE_OUT=fdatasync` makes the committer of the same build answer without its
//! `fdatasync`.
//!
//! `RELAY_FAIL_AT=body-write:3` tests disk errors: the third such call of the program fails with
//! EIO, or with ENOSPC if `RELAY_FAIL_WITH` says so. The calls are `body-make`, `body-write`,
//! `body-sync`, `directory-sync`, `journal-write`, `journal-sync`, `journal-allocate`,
//! `journal-directory-sync`, `segment-make`, `segment-rename`, `index-sync` and `aside-rename`.
//!
//! None of this is shipped. Without the feature the program does not contain it, the program with
//! the feature is called `relayd-crash-points`, and it does not compile as an optimised release.
//!
//! | point | state at this point |
//! |---|---|
//! | `body-synced` | a body file is durable, but its name is not |
//! | `directory-synced` | the name is durable too; there is no record |
//! | `appending` | nothing of the round is written |
//! | `appended` | the round is written to its segment; it is not durable |
//! | `segment-written` | a new segment with its first rounds is written to the spare file; it is not durable |
//! | `segment-named` | the new segment is durable and has its name; the name is not durable |
//! | `segment-given-up` | the oldest segment has lost its name, and the loss is not durable |
//! | `moving` | messages of the oldest segment are about to be appended anew |
//! | `synced` | the round is durable; the callers have not been answered |
//! | `checkpoint` | the changes for the index on disk are collected; nothing of them is written |
//! | `checkpoint-written` | the index on disk is durable |
//! | `index-filling` | a part of a new index is written; it has no checkpoint |
//! | `taking-over` | a part of a queue of the earlier layout is in the new journal |
//! | `taken-over` | all of it is; the old queue still counts |
//! | `takeover-renamed` | the new one counts and does not have its name |
//! | `takeover-named` | it has its name; the old one is still there |
//! | `told` | the callers have been answered; files of messages that left the queue still exist |
//! | `unlinking` | the file of a message that left the queue, or never entered it, is about to be removed |
//! | `accepted` | the message is in the queue; neither its client nor `send` knows |
//! | `attempted` | a remote host has answered; the answer is not recorded |
//! | `recorded` | the answer is recorded; nothing has been done about it |
//! | `reporting` | a failure is recorded; its report is about to enter the queue |
//! | `kept-aside` | a damaged message has been moved to `corrupt/`; its record still exists |

use std::io;
#[cfg(feature = "crash-points")]
use std::sync::OnceLock;
#[cfg(feature = "crash-points")]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "crash-points")]
use rustix::io::Errno;

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash-points is for test builds: no release may die on request");

/// Aborts the process if the environment selects this point.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    if Chosen::is_now(&CHOSEN, "RELAY_CRASH_AT", name) {
        std::process::abort();
    }
}

/// The name in an environment variable, and how many more times it must be reached.
#[cfg(feature = "crash-points")]
struct Chosen {
    name: String,
    left: AtomicU64,
}

#[cfg(feature = "crash-points")]
impl Chosen {
    fn is_now(chosen: &OnceLock<Option<Self>>, variable: &str, name: &str) -> bool {
        let chosen = chosen.get_or_init(|| {
            let value = std::env::var(variable).ok()?;
            let (name, times) = value.split_once(':').unwrap_or((&value, "1"));
            Some(Self {
                name: name.to_owned(),
                left: AtomicU64::new(times.parse().ok()?),
            })
        });
        let chosen = chosen.as_ref().filter(|chosen| chosen.name == name);
        chosen.is_some_and(|chosen| chosen.left.fetch_sub(1, Ordering::SeqCst) == 1)
    }
}

/// Does nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &str) {}

/// Returns whether the environment asks to skip this step.
#[cfg(feature = "crash-points")]
pub fn leaves_out(step: &str) -> bool {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("RELAY_LEAVE_OUT").ok());
    chosen.as_deref() == Some(step)
}

/// Returns `false` without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn leaves_out(_step: &str) -> bool {
    false
}

/// Returns an error if the environment asks to fail this call of the disk.
#[cfg(feature = "crash-points")]
pub fn call(name: &str) -> io::Result<()> {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    if Chosen::is_now(&CHOSEN, "RELAY_FAIL_AT", name) {
        let is_full = std::env::var("RELAY_FAIL_WITH").is_ok_and(|name| name == "ENOSPC");
        let errno = if is_full { Errno::NOSPC } else { Errno::IO };
        return Err(errno.into());
    }
    Ok(())
}

/// Returns `Ok` without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn call(_name: &str) -> io::Result<()> {
    Ok(())
}
