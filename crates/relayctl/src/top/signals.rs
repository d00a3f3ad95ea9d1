//! The signals that a program on a terminal receives.

use std::io;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The meaning of a signal.
pub(super) enum SignalEvent {
    /// The program must end.
    End,
    /// The size of the terminal has changed.
    Resized,
    /// Ctrl-Z.
    Suspend,
}

/// Handles these signals. From now on none of them ends the program by default.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resized: Signal,
    suspend: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resized: signal(SignalKind::window_change())?,
            suspend: signal(SignalKind::from_raw(Number::TSTP.as_raw()))?,
        })
    }

    pub(super) async fn next(&mut self) -> SignalEvent {
        tokio::select! {
            _ = self.interrupt.recv() => SignalEvent::End,
            _ = self.terminate.recv() => SignalEvent::End,
            _ = self.hangup.recv() => SignalEvent::End,
            _ = self.resized.recv() => SignalEvent::Resized,
            _ = self.suspend.recv() => SignalEvent::Suspend,
        }
    }
}
