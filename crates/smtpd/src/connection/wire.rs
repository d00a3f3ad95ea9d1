//! Input and output of a connection: sending, waiting for input, starting TLS, closing.

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

/// How long closing a connection waits for a client that is still sending.
const LINGER: Duration = Duration::from_secs(2);
/// The most octets that are read and discarded while closing.
const LINGER_SIZE: u64 = 1024 * 1024;

/// The client has closed the connection, so no reply can be sent.
pub(super) struct Gone;

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// Starts TLS and returns the session, which forgets everything from before. Returns `None` if
    /// the handshake fails.
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

    /// Sends the pending output in one write.
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

    /// Waits for input. The result is empty if the client took too long or the relay shuts down;
    /// the session has then prepared its last reply.
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

    /// How long the client may be silent: the timeout for a command or for the next part of a
    /// message, limited by the time for the whole message.
    pub(super) fn deadline(&self) -> Instant {
        let of_session = Instant::from_std(self.session.deadline());
        let of_message = self.min_rate.as_deref().and_then(MinRate::deadline);
        match of_message {
            Some(of_message) if self.session.is_receiving() => of_session.min(of_message),
            _ => of_session,
        }
    }

    /// Sends the last reply and, under TLS, the closing alert. If octets of the client were left
    /// unread, the system would reset the connection and the client could lose the last reply. So
    /// they are read and discarded for a short time.
    pub(super) async fn close(mut self, unread: &Unread) {
        // Within a message more octets will follow, even if none have arrived yet.
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
        // The connection ends here, even after an error.
        let _ = timeout(LINGER, ended).await;
    }
}

/// Makes the TLS handshake and logs the result. A shutdown of the relay ends it.
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

/// Reads into a buffer that is held only if data arrives.
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
