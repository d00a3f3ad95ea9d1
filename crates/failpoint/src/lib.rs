//! Points at which a test build of the relay dies, and syncs that it leaves out.
//!
//! What holds after a crash must hold whichever moment it strikes. So a build with the feature
//! `crash-points` ends itself at the point that the environment variable `RELAY_CRASH_AT` names:
//! `flushed` the first time that it comes there, `flushed:3` the third time.
//!
//! A test of power loss proves nothing unless it fails for a relay that does not sync. Such a one is
//! the same build with `RELAY_LEAVE_OUT=fdatasync`, whose committer answers without its `fdatasync`.
//!
//! What holds when the disk refuses is tried with `RELAY_FAIL_AT=body-write:3`: the third such call of
//! the program's own fails with EIO, or with ENOSPC where that stands in `RELAY_FAIL_WITH`. The calls are `body-make`, `body-write`, `body-sync`,
//! `directory-sync`, `database-sync` and `aside-rename`.
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

use std::io;
#[cfg(feature = "crash-points")]
use std::sync::OnceLock;
#[cfg(feature = "crash-points")]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "crash-points")]
use rustix::io::Errno;

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash-points is for test builds: no release may die on request");

/// The named point has been reached.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    if Chosen::is_now(&CHOSEN, "RELAY_CRASH_AT", name) {
        std::process::abort();
    }
}

/// What an environment variable names, and how often it is still to be passed.
#[cfg(feature = "crash-points")]
struct Chosen {
    name: String,
    left: AtomicU64,
}

#[cfg(feature = "crash-points")]
impl Chosen {
    fn is_now(chosen: &OnceLock<Option<Self>>, variable: &str, name: &str) -> bool {
        let chosen = chosen.get_or_init(|| {
            let wish = std::env::var(variable).ok()?;
            let (name, times) = wish.split_once(':').unwrap_or((&wish, "1"));
            Some(Self {
                name: name.to_owned(),
                left: AtomicU64::new(times.parse().ok()?),
            })
        });
        let chosen = chosen.as_ref().filter(|chosen| chosen.name == name);
        chosen.is_some_and(|chosen| chosen.left.fetch_sub(1, Ordering::SeqCst) == 1)
    }
}

/// The named point has been reached.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &str) {}

/// Whether this step is to be left out.
#[cfg(feature = "crash-points")]
pub fn leaves_out(step: &str) -> bool {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("RELAY_LEAVE_OUT").ok());
    chosen.as_deref() == Some(step)
}

/// Whether this step is to be left out.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn leaves_out(_step: &str) -> bool {
    false
}

/// What is to become of a call of the disk, before it is made.
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

/// What is to become of a call of the disk, before it is made.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn call(_name: &str) -> io::Result<()> {
    Ok(())
}
