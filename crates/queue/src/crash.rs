//! Points at which a test build of the relay dies, and syncs that it leaves out.
//!
//! What holds after a crash must hold whichever moment it strikes. So a build with the feature
//! `crash-points` ends itself at the point that the environment variable `RELAY_CRASH_AT` names:
//! `flushed` the first time that it comes there, `flushed:3` the third time.
//!
//! A test of power loss proves nothing unless it fails for a relay that does not sync. Such a one is
//! the same build with `RELAY_LEAVE_OUT=fdatasync`, whose committer answers without its `fdatasync`.
//!
//! Nobody ships any of this: without the feature it is not in the program, the program that has it is
//! called `relayd-crash-points`, and with optimisations for a release it does not compile.
//!
//! | point | what has happened |
//! |---|---|
//! | `body-synced` | a body file is durable, its name is not |
//! | `directory-synced` | so is its name; there is no record |
//! | `applying` | nothing of the batch is with sled |
//! | `applied` | sled has the batch in memory |
//! | `flushed` | sled has written it; it is not durable |
//! | `synced` | it is durable, and nobody has been told |
//! | `leave-applying`, `leave-applied`, `leave-flushed`, `leave-synced` | the same, of a batch in which a message leaves |
//! | `told` | everybody has; files of messages that have left are still there |
//! | `unlinking` | the file of a message that has left, or never came in, is the next to go |
//! | `accepted` | the message is in the queue, and neither its client nor `send` knows |
//! | `attempted` | a remote host has answered, and there is no record of it |
//! | `recorded` | there is, and nothing has been made of it |
//! | `reporting` | a failure is recorded, and its report is about to enter the queue |
//! | `kept-aside` | a damaged message lies in `corrupt/`, and its record is still there |

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash-points is for test builds: no release may die on request");

/// The named point has been reached.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let wish = std::env::var("RELAY_CRASH_AT").ok()?;
        let (name, times) = wish.split_once(':').unwrap_or((&wish, "1"));
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });
    if let Some((_, left)) = chosen.as_ref().filter(|(chosen, _)| chosen == name)
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// The named point has been reached.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &str) {}

/// Whether this step is to be left out.
#[cfg(feature = "crash-points")]
pub(crate) fn leaves_out(step: &str) -> bool {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("RELAY_LEAVE_OUT").ok());
    chosen.as_deref() == Some(step)
}

/// Whether this step is to be left out.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn leaves_out(_step: &str) -> bool {
    false
}
