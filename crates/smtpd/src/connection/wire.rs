//! The octets of a connection: sent, awaited, protected, ended.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use relay_message::QueueStore;
use relay_smtp::server::replies;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{Client, Connection, SharedState};
use crate::buffers::{BufferPool, Unread};
use crate::min_rate::MinRate;
use crate::stream::Stream;
use crate::tls::{TlsFacts, TlsServer};
use crate::{clock, events};

/// How long a client that still sends may keep us from closing.
const LINGER: Duration = Duration::from_secs(2);
/// How much of it is read meanwhile, in octets.
const LINGER_SIZE: u64 = 1024 * 1024;

/// The client has gone: there is nobody to answer.
pub(super) struct Gone;

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// The session under TLS, all that was said before forgotten; none where the handshake failed.
    pub(super) async fn start_tls(mut self) -> Option<Self> {
        self.flush().await.ok()?;
        let Stream::Clear(transport) = self.stream else {
            return None;
        };
        let server = self.config.tls.as_deref();
        let (stream, tls) = secure(&self.shared, server, self.client, transport).await?;
        self.session.tls_started(clock::now().into_std());
        Some(Self {
            stream,
            tls: Some(tls),
            ..self
        })
    }

    /// Sends what is to be said, in one piece.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let deadline = Instant::from_std(self.session.deadline());
        let sent = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Waits for input; none when the client took too long or the relay goes down, and then the
    /// session says so.
    pub(super) async fn read(&mut self) -> Result<Unread, Gone> {
        let deadline = self.deadline();
        let Self {
            shared,
            stream,
            session,
            ..
        } = self;
        let stop = if session.is_receiving() {
            &shared.ending
        } else {
            &shared.stopping
        };
        if stop.is_cancelled() {
            session.refuse(&replies::shutting_down());
            return Ok(Unread::default());
        }
        tokio::select! {
            biased;
            read = poll_fn(|context| poll_input(stream, &shared.buffers, context)) => read,
            () = stop.cancelled() => {
                session.refuse(&replies::shutting_down());
                Ok(Unread::default())
            }
            () = sleep_until(deadline) => {
                session.handle_timeout();
                Ok(Unread::default())
            }
        }
    }

    /// How long the client may be silent: its time for a command, or for more of a message, which
    /// as a whole has a time of its own.
    pub(super) fn deadline(&self) -> Instant {
        let of_session = Instant::from_std(self.session.deadline());
        let of_message = self.min_rate.as_deref().and_then(MinRate::deadline);
        match of_message {
            Some(of_message) if self.session.is_receiving() => of_session.min(of_message),
            _ => of_session,
        }
    }

    /// Says the last word, and under TLS that it was the last. Octets that nobody has read would
    /// make the system reset the connection, and the reset may overtake that word: so they are read
    /// for a moment.
    pub(super) async fn close(mut self, unread: &Unread) {
        // Within a message there is more to come even if none of it is here yet.
        let has_unread = !unread.octets().is_empty() || self.intake.id().is_some();
        let said = self.flush().await;
        if said.is_err() || !(has_unread || self.tls.is_some()) {
            return;
        }
        let ended = async {
            self.stream.shutdown().await?;
            if has_unread {
                let mut rest = self.stream.take(LINGER_SIZE);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            }
            Ok::<_, io::Error>(())
        };
        // Whatever comes of it, the connection ends here.
        let _ = timeout(LINGER, ended).await;
    }
}

/// Shakes hands, and tells the log; gives up when the relay goes down.
pub(super) async fn secure<S, T: AsyncRead + AsyncWrite + Unpin>(
    shared: &SharedState<S>,
    server: Option<&TlsServer>,
    client: Client,
    transport: T,
) -> Option<(Stream<T>, Box<TlsFacts>)> {
    let Some(server) = server else {
        events::no_certificate(client.id);
        return None;
    };
    let secured = tokio::select! {
        secured = Stream::secure(transport, server) => secured,
        () = shared.stopping.cancelled() => return None,
    };
    match secured {
        Ok((stream, facts)) => {
            events::tls_started(client.id, &facts);
            Some((stream, Box::new(facts)))
        }
        Err(reason) => {
            events::tls_failed(client.id, &reason);
            None
        }
    }
}

/// Reads into a buffer that is held only if there is something to read.
fn poll_input<T: AsyncRead + Unpin>(
    stream: &mut T,
    buffers: &BufferPool,
    context: &mut Context<'_>,
) -> Poll<Result<Unread, Gone>> {
    let mut buffer = buffers.take();
    let mut target = ReadBuf::new(&mut buffer);
    let poll = Pin::new(stream).poll_read(context, &mut target);
    let length = target.filled().len();
    match poll {
        Poll::Ready(Ok(())) if length > 0 => Poll::Ready(Ok(Unread::new(buffer, length))),
        other => {
            buffers.give_back(buffer);
            other.map(|_| Err(Gone))
        }
    }
}
