//! Delivers a message to the relay, or to the maildrop if the relay does not accept it.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use relay_maildrop::RECIPIENTS;
use relay_maildrop::submit::{Submission, SubmitError};
use relay_smtp::client::{Answer, Envelope, Lack};
use relay_smtp::{ForwardPath, Recipient};

use crate::error::{RelayError, SendmailError};
use crate::maildrop;
use crate::message::OutgoingMessage;
use crate::settings::RelaySettings;

/// How long to wait for a reply (RFC 5321 §4.5.3.2.6). The relay may have to wait for its disk.
const REPLY_TIMEOUT: Duration = Duration::from_mins(10);
/// How long to wait for the greeting and the reply to EHLO. A relay that hangs must not block every
/// program that sends mail.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);

/// The recipients for which the relay did not accept the message for now, and why.
struct Deferred {
    recipients: Vec<ForwardPath>,
    reason: RelayError,
}

/// Returns once the message is safe for every recipient that was not refused.
pub(crate) fn deliver(
    mut message: OutgoingMessage,
    settings: &RelaySettings,
) -> Result<(), SendmailError> {
    let mut refusal = None;
    if let Some(deferred) = submit(&mut message, settings, &mut refusal)? {
        // The calling program can still receive the error that the relay would return later.
        if let Some(limit) = settings.message_size.filter(|&most| message.size() > most) {
            return Err(SendmailError::TooLarge(limit));
        }
        let stored = maildrop::store(&mut message, &deferred.recipients, settings);
        stored.map_err(|reason| SendmailError::Temporary {
            relay: deferred.reason,
            directory: settings.maildrop.clone(),
            reason,
        })?;
    }
    refusal.map_or(Ok(()), Err)
}

/// Submits the message in as many transactions as necessary.
fn submit(
    message: &mut OutgoingMessage,
    settings: &RelaySettings,
    refusal: &mut Option<SendmailError>,
) -> Result<Option<Deferred>, SendmailError> {
    let mut waiting = message.recipients.clone();
    let defer = |recipients, reason| Ok(Some(Deferred { recipients, reason }));
    let mut submission = match connect(settings) {
        Ok(submission) => submission,
        Err(reason) => return defer(waiting, reason),
    };
    while !waiting.is_empty() {
        let rest = waiting.split_off(waiting.len().min(RECIPIENTS));
        let answers = match transact(message, &waiting, &mut submission) {
            Ok(answers) => answers,
            Err(SubmitError::Message(reason)) => return Err(SendmailError::Input(reason)),
            // If the connection was lost after the final dot, the message may arrive twice. That is
            // better than losing it.
            Err(reason) => {
                waiting.extend(rest);
                return defer(waiting, RelayError::Session(reason));
            }
        };
        let outcome = evaluate(&waiting, answers, refusal);
        waiting = outcome.deferred;
        waiting.extend(rest);
        if let (false, Some(reason)) = (outcome.is_progress, outcome.reason) {
            return defer(waiting, reason);
        }
    }
    submission.close();
    Ok(None)
}

fn connect(settings: &RelaySettings) -> Result<Submission<UnixStream>, RelayError> {
    let socket = &settings.socket;
    let stream = UnixStream::connect(socket).map_err(|reason| RelayError::NoAnswer {
        socket: socket.clone(),
        reason,
    })?;
    let same = set_timeouts(&stream, GREETING_TIMEOUT)
        .and_then(|()| stream.try_clone())
        .map_err(RelayError::Connection)?;
    let submission = Submission::open(stream, "localhost").map_err(RelayError::Session)?;
    set_timeouts(&same, REPLY_TIMEOUT).map_err(RelayError::Connection)?;
    Ok(submission)
}

fn set_timeouts(stream: &UnixStream, timeout: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))
}

fn transact(
    message: &mut OutgoingMessage,
    recipients: &[ForwardPath],
    submission: &mut Submission<UnixStream>,
) -> Result<Vec<Answer>, SubmitError> {
    let recipients: Vec<_> = recipients
        .iter()
        .map(|path| Recipient {
            path: path.clone(),
            notify: message.notify,
            orcpt: None,
        })
        .collect();
    let recipients: Vec<_> = recipients.iter().collect();
    let (sender, dsn) = (message.sender.clone(), message.dsn.clone());
    let envelope = Envelope {
        sender: &sender,
        recipients: &recipients,
        size: message.size(),
        eight_bit: message.eight_bit,
        utf8: false,
        dsn: &dsn,
    };
    let mut content = message.content().map_err(SubmitError::Message)?;
    submission.send(&envelope, &mut content)
}

/// The result of a transaction.
struct Outcome {
    /// The recipients that were refused temporarily, and the last reason.
    deferred: Vec<ForwardPath>,
    reason: Option<RelayError>,
    /// Whether at least one answer was final. The other recipients may then succeed in the next
    /// transaction, for example if the relay accepts fewer recipients at a time.
    is_progress: bool,
}

/// Evaluates the answers for these recipients. The first permanent refusal goes to `refusal`.
fn evaluate(
    recipients: &[ForwardPath],
    answers: Vec<Answer>,
    refusal: &mut Option<SendmailError>,
) -> Outcome {
    let mut outcome = Outcome {
        deferred: Vec::new(),
        reason: None,
        is_progress: false,
    };
    for (path, answer) in recipients.iter().zip(answers) {
        match answer {
            Answer::Taken(_) => outcome.is_progress = true,
            Answer::Refused(stage, reply) if reply.is_permanent() => {
                outcome.is_progress = true;
                let what = match stage {
                    relay_smtp::Stage::Rcpt => path.to_string(),
                    _ => "the message".to_owned(),
                };
                refusal.get_or_insert(SendmailError::Refused { what, stage, reply });
            }
            Answer::Refused(_, reply) => {
                outcome.deferred.push(path.clone());
                outcome.reason = Some(RelayError::Refused(reply));
            }
            Answer::Unsupported(Lack::Room { limit }) => {
                outcome.is_progress = true;
                refusal.get_or_insert(SendmailError::TooLarge(limit));
            }
            Answer::Unsupported(Lack::Utf8) => {
                outcome.deferred.push(path.clone());
                outcome.reason = Some(RelayError::NoUtf8);
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
