//! The terminal during a live view. Its previous state is always restored.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use super::frame::Size;

/// Switches to the alternate screen, hides the cursor, and turns off automatic line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Moves the cursor to the upper left corner.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// A terminal that returns each key at once and does not echo it.
pub(super) struct Screen {
    terminal: File,
    keyboard: Option<Keyboard>,
}

/// Standard input, if it is a terminal. Without a keyboard, only a signal ends the view.
struct Keyboard {
    terminal: File,
    before: Termios,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let screen = Self {
            terminal: handle(io::stdout())?,
            keyboard: Keyboard::find()?,
        };
        screen.show()?;
        Ok(screen)
    }

    fn show(&self) -> io::Result<()> {
        self.keyboard
            .as_ref()
            .map_or(Ok(()), Keyboard::disable_echo)?;
        (&self.terminal).write_all(ENTER.as_bytes())
    }

    fn leave(&self) {
        // If the terminal is gone, it need not be restored.
        let _ = (&self.terminal).write_all(LEAVE.as_bytes());
        if let Some(keyboard) = &self.keyboard {
            let _ = keyboard.restore();
        }
    }

    /// Restores the terminal and stops this process until the shell continues it.
    pub(super) fn suspend(&self) -> io::Result<()> {
        self.leave();
        kill_process(getpid(), Signal::STOP)?;
        self.show()
    }

    pub(super) fn size(&self) -> Size {
        match tcgetwinsize(&self.terminal) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
                columns: size.ws_col.into(),
                rows: size.ws_row.into(),
            },
            // The traditional size of a terminal.
            _ => Size {
                columns: 80,
                rows: 24,
            },
        }
    }

    /// Replaces the content of the screen by these lines, without flicker.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        // Each line is cleared before it is written. Clearing after a line that fills the width
        // would delete its last character.
        let mut octets = HOME.to_owned();
        for (nth, line) in lines.iter().enumerate() {
            octets += if nth > 0 { "\r\n" } else { "" };
            octets += if nth + 1 < lines.len() {
                CLEAR_LINE
            } else {
                CLEAR_REST
            };
            octets += line;
        }
        (&self.terminal).write_all(octets.as_bytes())
    }

    /// Returns the pressed keys, or `None` without a keyboard. The channel closes when the terminal
    /// does.
    pub(super) fn keys(&self) -> io::Result<Option<mpsc::Receiver<u8>>> {
        let Some(keyboard) = &self.keyboard else {
            return Ok(None);
        };
        let mut terminal = keyboard.terminal.try_clone()?;
        let (pressed, keys) = mpsc::channel(16);
        // The thread waits for a key until the process ends.
        thread::Builder::new().spawn(move || {
            let mut key = [0];
            while terminal.read_exact(&mut key).is_ok() {
                if pressed.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Some(keys))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Keyboard {
    fn find() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let terminal = handle(io::stdin())?;
        let before = tcgetattr(&terminal)?;
        Ok(Some(Self { terminal, before }))
    }

    /// Turns off the echo and the wait for the end of a line.
    fn disable_echo(&self) -> io::Result<()> {
        let mut quiet = self.before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &quiet)?)
    }

    fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(
            &self.terminal,
            OptionalActions::Now,
            &self.before,
        )?)
    }
}

/// Returns an unbuffered handle.
fn handle(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}
