//! `top`: a live view of destinations, rates and slots.

mod frame;
mod screen;
mod signals;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use relay_control::{Accounting, Status, path};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use self::frame::{Earlier, Size, lines};
use self::screen::Screen;
use self::signals::{SignalEvent, Signals};
use crate::client::Client;
use crate::clock::now;
use crate::error::RelayctlError;
use crate::output::print_answer;

/// The time between two updates.
const PAUSE: Duration = Duration::from_secs(1);
/// Rates are averages over this many updates: enough to show a few deliveries a minute, and short
/// enough to show changes.
const UPDATES: usize = 10;
/// The size of a screen that is printed to a file, where nothing is cut off.
const BOUNDLESS: Size = Size {
    columns: usize::MAX,
    rows: usize::MAX,
};

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one screen and exit
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(
    args: &TopArgs,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    match (args.once, json) {
        (true, _) => once(client, json, out).await,
        (false, true) => stream(client, out).await,
        (false, false) => live(client).await,
    }
}

async fn once(client: &Client, json: bool, out: &mut impl Write) -> Result<(), RelayctlError> {
    let status: Status = client.get(path::STATUS).await?;
    if json {
        return print_answer(out, &status);
    }
    let lines = lines(&status, None, BOUNDLESS, now());
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .map_err(RelayctlError::Output)
}

/// Prints the status as one line of JSON for each update, until it is interrupted.
async fn stream(client: &Client, out: &mut impl Write) -> Result<(), RelayctlError> {
    let mut updates = updates();
    once(client, true, out).await?;
    loop {
        out.flush().map_err(RelayctlError::Output)?;
        updates.tick().await;
        once(client, true, out).await.map_err(gone)?;
    }
}

/// Shows the live view until q or a signal, then restores the terminal.
async fn live(client: &Client) -> Result<(), RelayctlError> {
    if !io::stdout().is_terminal() {
        let reason = "the live view needs a terminal; --once prints a single screen";
        return Err(RelayctlError::Usage(reason.to_owned()));
    }
    // If there is no relay, the terminal must stay unchanged.
    let mut view = View::new(client.get(path::STATUS).await?);
    let mut signals = Signals::listen().map_err(RelayctlError::Output)?;
    let screen = Screen::enter().map_err(RelayctlError::Output)?;
    let mut keys = screen.keys().map_err(RelayctlError::Output)?;
    let mut updates = updates();
    loop {
        let lines = view.lines(screen.size());
        screen.draw(&lines).map_err(RelayctlError::Output)?;
        tokio::select! {
            status = update(client, &mut updates) => view.take(status.map_err(gone)?),
            () = quit(&mut keys) => return Ok(()),
            event = signals.next() => match event {
                SignalEvent::End => return Ok(()),
                SignalEvent::Resized => {}
                SignalEvent::Suspend => screen.suspend().map_err(RelayctlError::Output)?,
            },
        }
    }
}

fn updates() -> Interval {
    let mut updates = interval_at(Instant::now() + PAUSE, PAUSE);
    updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    updates
}

async fn update(client: &Client, updates: &mut Interval) -> Result<Status, RelayctlError> {
    updates.tick().await;
    client.get(path::STATUS).await
}

/// Converts a failure that is due to a relay that has stopped.
fn gone(reason: RelayctlError) -> RelayctlError {
    match reason {
        RelayctlError::Answer(_) | RelayctlError::Refused(_) | RelayctlError::Unavailable(_) => {
            RelayctlError::Gone(reason.to_string())
        }
        other => other,
    }
}

/// Waits for the key q, or for the end of the terminal.
async fn quit(keys: &mut Option<mpsc::Receiver<u8>>) {
    match keys {
        Some(keys) => while !matches!(keys.recv().await, None | Some(b'q' | b'Q')) {},
        None => std::future::pending().await,
    }
}

/// The latest status, and the counters of earlier ones.
struct View {
    status: Status,
    at: Instant,
    before: VecDeque<(Accounting, Instant)>,
}

impl View {
    fn new(status: Status) -> Self {
        Self {
            status,
            at: Instant::now(),
            before: VecDeque::with_capacity(UPDATES),
        }
    }

    fn take(&mut self, status: Status) {
        self.before.truncate(UPDATES - 1);
        self.before.push_front((self.status.accounting, self.at));
        self.status = status;
        self.at = Instant::now();
    }

    fn lines(&self, size: Size) -> Vec<String> {
        let earlier = self.before.back().map(|&(accounting, at)| Earlier {
            accounting,
            passed: self.at - at,
        });
        lines(&self.status, earlier, size, now())
    }
}
