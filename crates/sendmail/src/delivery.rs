//! Delivers a message to the relay, or to the maildrop if the relay does not accept it.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use relay_maildrop::RECIPIENTS;
use relay_maildrop::submit::{Submission, SubmitError};
use relay_smtp::client::{Answer, Envelope, Lack};
use relay_smtp::{ForwardPath, Recipient};

use crate::error::SendmailError;
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
    reason: String,
}

/// Returns once the message is safe for every recipient that was not refused.
pub(crate) fn deliver(
    mut mail: OutgoingMessage,
    settings: &RelaySettings,
) -> Result<(), SendmailError> {
    let mut refusal = None;
    if let Some(deferred) = submit(&mut mail, settings, &mut refusal)? {
        // The calling program can still receive the error that the relay would return later.
        if let Some(most) = settings.message_size.filter(|most| mail.size() > *most) {
            return Err(SendmailError::TooLarge(most));
        }
        let stored = maildrop::store(&mut mail, &deferred.recipients, settings);
        stored.map_err(|reason| SendmailError::Temporary {
            relay: deferred.reason,
            folder: settings.maildrop.clone(),
            reason,
        })?;
    }
    refusal.map_or(Ok(()), Err)
}

/// Submits the message in as many transactions as necessary.
fn submit(
    mail: &mut OutgoingMessage,
    settings: &RelaySettings,
    refusal: &mut Option<SendmailError>,
) -> Result<Option<Deferred>, SendmailError> {
    let mut waiting = mail.recipients.clone();
    let mut submission = match connect(settings) {
        Ok(submission) => submission,
        Err(reason) => {
            return Ok(Some(Deferred {
                recipients: waiting,
                reason,
            }));
        }
    };
    while !waiting.is_empty() {
        let rest = waiting.split_off(waiting.len().min(RECIPIENTS));
        let answers = match transact(mail, &waiting, &mut submission) {
            Ok(answers) => answers,
            Err(SubmitError::Message(reason)) => return Err(SendmailError::Input(reason)),
            // If the connection was lost after the final dot, the message may arrive twice. That is
            // better than losing it.
            Err(reason) => {
                waiting.extend(rest);
                let reason = reason.to_string();
                return Ok(Some(Deferred {
                    recipients: waiting,
                    reason,
                }));
            }
        };
        let outcome = sort(&waiting, answers, refusal);
        waiting = outcome.later;
        waiting.extend(rest);
        if let (false, Some(reason)) = (outcome.is_progress, outcome.reason) {
            return Ok(Some(Deferred {
                recipients: waiting,
                reason,
            }));
        }
    }
    submission.close();
    Ok(None)
}

fn connect(settings: &RelaySettings) -> Result<Submission<UnixStream>, String> {
    let socket = settings.socket.display();
    let stream = UnixStream::connect(&settings.socket)
        .map_err(|reason| format!("no relay answers at {socket}: {reason}"))?;
    let same = set_timeouts(&stream, GREETING_TIMEOUT)
        .and_then(|()| stream.try_clone())
        .map_err(|reason| reason.to_string())?;
    let submission = Submission::open(stream, "localhost").map_err(|reason| reason.to_string())?;
    set_timeouts(&same, REPLY_TIMEOUT).map_err(|reason| reason.to_string())?;
    Ok(submission)
}

fn set_timeouts(stream: &UnixStream, timeout: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))
}

fn transact(
    mail: &mut OutgoingMessage,
    recipients: &[ForwardPath],
    submission: &mut Submission<UnixStream>,
) -> Result<Vec<Answer>, SubmitError> {
    let asked: Vec<_> = recipients
        .iter()
        .map(|path| Recipient {
            path: path.clone(),
            notify: mail.notify,
            orcpt: None,
        })
        .collect();
    let asked: Vec<_> = asked.iter().collect();
    let (sender, dsn) = (mail.sender.clone(), mail.dsn.clone());
    let envelope = Envelope {
        sender: &sender,
        recipients: &asked,
        size: mail.size(),
        eight_bit: mail.eight_bit,
        utf8: false,
        dsn: &dsn,
    };
    let mut content = mail.content().map_err(SubmitError::Message)?;
    submission.send(&envelope, &mut content)
}

/// The result of a transaction.
struct Outcome {
    /// Recipients that were refused temporarily.
    later: Vec<ForwardPath>,
    reason: Option<String>,
    /// Whether at least one answer was final. The other recipients may then succeed in the next
    /// transaction, for example if the relay accepts fewer recipients at a time.
    is_progress: bool,
}

fn sort(
    asked: &[ForwardPath],
    answers: Vec<Answer>,
    refusal: &mut Option<SendmailError>,
) -> Outcome {
    let mut outcome = Outcome {
        later: Vec::new(),
        reason: None,
        is_progress: false,
    };
    for (path, answer) in asked.iter().zip(answers) {
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
                outcome.later.push(path.clone());
                outcome.reason = Some(format!("the relay replied: {reply}"));
            }
            Answer::Unsupported(Lack::Room { limit }) => {
                outcome.is_progress = true;
                refusal.get_or_insert(SendmailError::TooLarge(limit));
            }
            Answer::Unsupported(Lack::Utf8) => {
                outcome.later.push(path.clone());
                outcome.reason = Some("the relay does not offer SMTPUTF8".to_owned());
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
