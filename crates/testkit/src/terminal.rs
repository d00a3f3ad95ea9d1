//! A terminal for one program. A test can wait for its output and press keys.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::DEADLINE;

/// Both ends of a terminal. It controls no process group, so keys send no signals.
#[derive(Debug)]
pub struct Terminal {
    ours: File,
    programs: OwnedFd,
    shown: Arc<Shown>,
}

/// Output that no wait has consumed yet.
#[derive(Debug, Default)]
struct Shown {
    text: Mutex<String>,
    more: Condvar,
}

impl Terminal {
    /// Opens a terminal with 80 columns and 24 rows.
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

    /// Runs a program with this terminal as its standard streams, except for those that `place`
    /// sets.
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

    /// Waits for this text and returns the output up to its end, since the last wait.
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

    /// Changes the size without a signal to the program.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).expect("a terminal has a size");
    }

    /// The modes for input and output, for comparison.
    pub fn modes(&self) -> String {
        let modes = tcgetattr(&self.programs).expect("a terminal has modes");
        format!("{modes:?}")
    }
}

impl Shown {
    /// Reads until the terminal is gone.
    fn read(&self, mut terminal: File) {
        let mut some = [0; 4096];
        while let Ok(length @ 1..) = terminal.read(&mut some) {
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&some[..length]));
            self.more.notify_all();
        }
    }
}
