//! The SMTP client that submits mail to the relay on the same machine. The `sendmail` command uses it, and
//! so does the daemon for mail from the maildrop.
//!
//! Calls block until the relay has replied or the stream's own timeout has expired.

use std::io::{self, Read, Write};

use relay_smtp::client::{Answer, ClientSession, ContentEncoder, Envelope, Event, Plan, Trouble};
use relay_smtp::{Reply, Stage};

/// How many octets of the message are read at a time.
const PIECE: usize = 64 * 1024;
/// How many octets of the replies are read at a time.
const REPLY: usize = 2 * 1024;

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The relay refuses the session.
    #[error("at the {0} the relay replied: {1}")]
    Refused(Stage, Reply),
    /// The reply is not valid SMTP.
    #[error("at the {0} the reply was not valid SMTP")]
    Nonsense(Stage),
    /// The connection was lost, or timed out.
    #[error("the connection was lost at the {stage}: {source}")]
    Lost {
        /// The stage of the dialogue.
        stage: Stage,
        /// The system's error.
        source: io::Error,
    },
    /// The message cannot be read.
    #[error("cannot read the message: {0}")]
    Message(io::Error),
}

/// A session with the relay that is ready for a transaction.
#[derive(Debug)]
pub struct Submission<S> {
    stream: S,
    session: ClientSession,
    input: Vec<u8>,
}

impl<S: Read + Write> Submission<S> {
    /// Opens a session: waits for the greeting and sends EHLO with `name`.
    pub fn open(stream: S, name: &str) -> Result<Self, SubmitError> {
        let mut submission = Self {
            stream,
            session: ClientSession::new(name, Plan::CLEAR),
            input: Vec::new(),
        };
        loop {
            match submission.event()? {
                Event::Ready => return Ok(submission),
                other => submission.refuse(other)?,
            }
        }
    }

    /// Sends one message and returns an answer for each recipient, in their order.
    pub fn send(
        &mut self,
        envelope: &Envelope<'_>,
        message: &mut dyn Read,
    ) -> Result<Vec<Answer>, SubmitError> {
        let mut event = self.session.begin(envelope);
        loop {
            match self.or_next(event)? {
                Event::Finished(answers) => return Ok(answers),
                Event::Content => event = self.content(message)?,
                Event::Ready => event = None,
                other => {
                    self.refuse(other)?;
                    event = None;
                }
            }
        }
    }

    /// Sends QUIT without waiting for the reply.
    pub fn close(mut self) {
        self.session.quit();
        // The relay has taken the message; nothing depends on its reply to QUIT.
        let _ = self.flush();
    }

    fn or_next(&mut self, event: Option<Event>) -> Result<Event, SubmitError> {
        event.map_or_else(|| self.event(), Ok)
    }

    /// Handles an event that ends the session at any point.
    fn refuse(&mut self, event: Event) -> Result<(), SubmitError> {
        let stage = self.session.stage();
        match event {
            Event::Broken(Trouble::Refused(stage, reply)) => {
                Err(SubmitError::Refused(stage, reply))
            }
            Event::Broken(Trouble::Unexpected(stage, _) | Trouble::Garbled(stage, _)) => {
                Err(SubmitError::Nonsense(stage))
            }
            Event::Broken(_) | Event::StartTls | Event::Content | Event::Finished(_) => {
                Err(SubmitError::Nonsense(stage))
            }
            Event::Ready => Ok(()),
        }
    }

    /// Sends the message with its dots doubled, and the end of data. Returns an event if the relay has
    /// answered before that.
    fn content(&mut self, message: &mut dyn Read) -> Result<Option<Event>, SubmitError> {
        let (mut encoder, mut wire) = (ContentEncoder::default(), Vec::new());
        let mut piece = vec![0; PIECE];
        loop {
            let length = match message.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SubmitError::Message(error)),
            };
            if length == 0 {
                break;
            }
            encoder.encode(&piece[..length], &mut wire);
            if self.write(&wire).is_err() {
                // A relay that closes the connection may have sent a reason first.
                return self.event().map(Some);
            }
            wire.clear();
        }
        encoder.finish(&mut wire);
        let sent = self.write(&wire);
        self.session.content_sent();
        sent.map(|()| None).or_else(|_| self.event().map(Some))
    }

    /// Sends the pending output, and reads until there is an event.
    fn event(&mut self) -> Result<Event, SubmitError> {
        loop {
            let sent = self.flush();
            let mut input = self.input.as_slice();
            let event = self.session.receive(&mut input);
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            if let Some(event) = event {
                return Ok(event);
            }
            if self.session.output().is_empty() {
                self.read()?;
            }
            sent?;
        }
    }

    fn read(&mut self) -> Result<(), SubmitError> {
        let mut piece = [0; REPLY];
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => {
                self.input.extend_from_slice(&piece[..length]);
                Ok(())
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn flush(&mut self) -> Result<(), SubmitError> {
        let output = std::mem::take(self.session.output());
        self.write(&output)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), SubmitError> {
        let written = self.stream.write_all(octets);
        written.map_err(|error| self.lost(error))
    }

    fn lost(&self, source: io::Error) -> SubmitError {
        SubmitError::Lost {
            stage: self.session.stage(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
