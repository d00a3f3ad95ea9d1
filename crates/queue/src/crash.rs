//! Points at which a test build of the relay dies.
//!
//! What holds after a crash must hold whichever moment it strikes. So a build with the feature
//! `crash-points`, which nobody ships, ends itself at the point that the environment variable
//! `RELAY_CRASH_AT` names: `flushed` the first time that it comes there, `flushed:3` the third time.
//! Without the feature nothing of this is in the program.
//!
//! | point | what has happened |
//! |---|---|
//! | `body-synced` | a body file is durable, its name is not |
//! | `directory-synced` | so is its name; there is no record |
//! | `applying` | nothing of the batch is with sled |
//! | `applied` | sled has the batch in memory |
//! | `flushed` | sled has written it; it is not durable |
//! | `synced` | it is durable, and nobody has been told |
//! | `told` | everybody has; files of messages that have left are still there |
//! | `attempted` | a remote host has answered, and there is no record of it |
//! | `kept-aside` | a damaged message lies in `corrupt/`, and its record is still there |

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
