//! A terminal for one program: what it shows can be waited for, and keys can be pressed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::DEADLINE;

/// Both ends of a terminal. It is nobody's controlling one, so keys make no signals.
#[derive(Debug)]
pub struct Terminal {
    ours: File,
    programs: OwnedFd,
    shown: Arc<Shown>,
}

/// What was written to the terminal and not yet waited for.
#[derive(Debug, Default)]
struct Shown {
    text: Mutex<String>,
    more: Condvar,
}

impl Terminal {
    /// With 80 columns and 24 rows.
    pub fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("a terminal");
        unlockpt(&ours).expect("its other end");
        let programs = ioctl_tiocgptpeer(&ours, flags).expect("its other end");
        let terminal = Self {
            ours: ours.into(),
            programs,
            shown: Arc::default(),
        };
        terminal.resize(80, 24);
        let reader = terminal.ours.try_clone().expect("a handle");
        let shown = Arc::clone(&terminal.shown);
        thread::spawn(move || shown.read(reader));
        terminal
    }

    /// Runs a program whose standard streams are this terminal, but for those that have been given
    /// another place by `place`.
    pub fn run(&self, command: &mut Command, place: impl FnOnce(&mut Command)) -> Child {
        let end = || Stdio::from(self.programs.try_clone().expect("a handle"));
        command.stdin(end()).stdout(end()).stderr(end());
        place(command);
        command.spawn().expect("a program that runs")
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&self.ours)
            .write_all(keys.as_bytes())
            .expect("a terminal that takes keys");
    }

    /// Waits until this is shown: all that was shown up to its end, since the last wait.
    pub fn wait_for(&self, text: &str) -> String {
        let shown = self
            .shown
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut shown, _) = self
            .shown
            .more
            .wait_timeout_while(shown, DEADLINE, |shown| !shown.contains(text))
            .unwrap_or_else(PoisonError::into_inner);
        let Some(at) = shown.find(text) else {
            panic!("{text:?} is not shown: {shown:?}");
        };
        shown.drain(..at + text.len()).collect()
    }

    /// Gives the terminal another size; whoever runs on it is not told.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).expect("a terminal has a size");
    }

    /// How it treats keys and text, to be compared.
    pub fn modes(&self) -> String {
        let modes = tcgetattr(&self.programs).expect("a terminal has modes");
        format!("{modes:?}")
    }
}

impl Shown {
    /// Until the terminal is gone.
    fn read(&self, mut terminal: File) {
        let mut some = [0; 4096];
        while let Ok(length @ 1..) = terminal.read(&mut some) {
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&some[..length]));
            self.more.notify_all();
        }
    }
}
