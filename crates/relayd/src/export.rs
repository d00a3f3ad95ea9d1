//! The queue as a stream of octets, for another relay. `relayd export` writes it when the relay
//! does not run, `relayctl queue export` when it runs.

use std::io::{self, IsTerminal, Write};

use bytes::Bytes;
use relay_message::{QueueId, QueueStore, StoreError};
use relay_queue::SledStore;
use relay_queue::archive::{self, Pieces};

use crate::config::Config;
use crate::statedir::{self, OwnerError};
use crate::store::{OpenStoreError, open_store};

/// How many records are read from the store at a time.
const PAGE: usize = 500;
/// How many octets are written at a time.
const BUFFER: usize = 256 * 1024;

/// The destination of a stream.
pub(crate) trait Sink: Send {
    /// Takes the next octets.
    fn put(&mut self, octets: Bytes) -> impl Future<Output = Result<(), Stop>> + Send;
}

impl<S: Sink> Sink for &mut S {
    async fn put(&mut self, octets: Bytes) -> Result<(), Stop> {
        (**self).put(octets).await
    }
}

/// Why the export stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The reader has disconnected.
    Gone,
    /// The output cannot be written.
    Output(io::Error),
    /// The queue has failed.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(reason: StoreError) -> Self {
        Self::Store(reason)
    }
}

/// A stream that has begun.
pub(crate) struct Stream<'a, S> {
    store: &'a SledStore,
    out: S,
    messages: u64,
    damaged: u64,
}

impl<'a, S: Sink> Stream<'a, S> {
    pub(crate) async fn begin(store: &'a SledStore, mut out: S) -> Result<Self, Stop> {
        out.put(archive::title()).await?;
        Ok(Self {
            store,
            out,
            messages: 0,
            damaged: 0,
        })
    }

    /// Adds one message if it is still in the queue. A damaged message is counted instead.
    pub(crate) async fn message(&mut self, id: QueueId) -> Result<(), Stop> {
        match self.store.export(id).await {
            Ok(Some(pieces)) => {
                self.pieces(pieces).await?;
                self.messages += 1;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(StoreError::Damaged { .. }) => {
                self.damaged += 1;
                Ok(())
            }
            Err(reason) => Err(reason.into()),
        }
    }

    async fn pieces(&mut self, mut pieces: Pieces) -> Result<(), Stop> {
        loop {
            let piece;
            (piece, pieces) = if pieces.reads_a_file() {
                // The disk may be slow.
                let read = tokio::task::spawn_blocking(move || (pieces.next(), pieces));
                read.await.map_err(|_| Stop::Gone)?
            } else {
                (pieces.next(), pieces)
            };
            match piece {
                None => return Ok(()),
                Some(Ok(octets)) => self.out.put(octets).await?,
                Some(Err(source)) => return Err(unreadable(source)),
            }
        }
    }

    /// Writes the last line. Returns the number of exported and of damaged messages.
    pub(crate) async fn end(mut self) -> Result<(u64, u64), Stop> {
        let (messages, damaged) = (self.messages, self.damaged);
        self.out.put(archive::end(messages, damaged)).await?;
        Ok((messages, damaged))
    }
}

fn unreadable(source: io::Error) -> Stop {
    Stop::Store(StoreError::Io {
        doing: "reading a body".to_owned(),
        source,
    })
}

/// Why the queue cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Standard output is a terminal.
    #[error("refusing to write the stream to a terminal: redirect it to a file or a pipe")]
    Terminal,
    /// The state directory belongs to another user.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The queue cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// The thread that read the queue has ended.
    #[error("reading the queue was interrupted")]
    Interrupted,
    /// The stream cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The queue has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Stop> for ExportError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Gone => Self::Interrupted,
            Stop::Output(reason) => Self::Output(reason),
            Stop::Store(reason) => Self::Store(reason),
        }
    }
}

/// Standard output.
struct Output(io::BufWriter<io::Stdout>);

impl Sink for Output {
    // A slow reader blocks nothing else, because this process only exports.
    async fn put(&mut self, octets: Bytes) -> Result<(), Stop> {
        self.0.write_all(&octets).map_err(Stop::Output)
    }
}

/// Writes the whole queue to standard output while the relay does not run, and the number of
/// messages to standard error. Returns whether no message was damaged.
///
/// After an error the stream is incomplete.
pub async fn run(config: &Config) -> Result<bool, ExportError> {
    if io::stdout().is_terminal() {
        return Err(ExportError::Terminal);
    }
    statedir::check_owner(&config.state_dir)?;
    let store = open_store(config).await?;
    let written = write(&store).await;
    // This counts messages that were found to be damaged at the opening of the queue or before.
    let set_aside = store.count_damaged();
    let closed = store.close().await;
    let (messages, damaged) = written?;
    closed?;
    let corrupt = config.state_dir.join("corrupt");
    let left_out = match set_aside {
        0 => String::new(),
        count => format!(
            "; damaged and set aside: {count} (in {})",
            corrupt.display()
        ),
    };
    // If standard error is closed, the exit code has to be enough.
    let _ = writeln!(io::stderr(), "messages exported: {messages}{left_out}");
    Ok(damaged == 0)
}

async fn write(store: &SledStore) -> Result<(u64, u64), Stop> {
    let mut out = Output(io::BufWriter::with_capacity(BUFFER, io::stdout()));
    let mut stream = Stream::begin(store, &mut out).await?;
    let mut after = None;
    loop {
        let page = store.scan(after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for message in page {
            after = Some(message.id);
            stream.message(message.id).await?;
        }
    }
    let counts = stream.end().await?;
    out.0.flush().map_err(Stop::Output)?;
    Ok(counts)
}
