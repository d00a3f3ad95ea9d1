//! Submits one message from the maildrop.

use std::fs::File;
use std::io;
use std::io::{BufReader, Read, Seek as _};
use std::time::Duration;

use relay_maildrop::submit::{Submission, SubmitError};
use relay_maildrop::{EnvelopeError, EnvelopeLine, RECIPIENTS};
use relay_smtp::client::{Answer, Envelope, Lack};
use relay_smtp::{ForwardPath, ReversePath};
use relay_smtpd::LocalSessions;

/// How long to wait for a reply. If the client gave up before the server, a message that is already
/// in the queue would be submitted twice. When the server ends a session, the stream ends.
const PATIENCE: Duration = Duration::from_mins(10);

/// What was found under a name in the maildrop.
#[derive(Debug)]
pub(super) enum Found {
    /// A file and the user id of its owner.
    Message(File, u32),
    /// Something that is not a message, with the reason.
    Wrong(String),
    /// Nothing: the owner has removed it in the meantime.
    Gone,
}

/// The result for one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileResult {
    /// The message is in the queue.
    Queued,
    /// The message can never be accepted, with the reason.
    Refused(String),
    /// The message cannot be accepted at present.
    Later,
    /// Nothing is to be done at present, or the file has been removed in the meantime.
    Left,
}

/// Submits a message as the owner of its file.
pub(super) fn submit(file: File, owner: u32, sessions: &LocalSessions) -> FileResult {
    let mut file = BufReader::new(file);
    let line = match EnvelopeLine::read(&mut file) {
        Ok(line) => line,
        Err(EnvelopeError::Io(_)) => return FileResult::Later,
        Err(reason) => return FileResult::Refused(format!("uid {owner}: {reason}")),
    };
    // The disk has failed, or the server is busy or shutting down. The message is tried again
    // later.
    let Ok(size) = rest_of(&mut file) else {
        return FileResult::Later;
    };
    // The size is fixed here, because a file that grows while it is read would never end.
    let Ok(answers) = send(&line, size, &mut file.take(size), owner, sessions) else {
        return FileResult::Later;
    };
    let result = result_of(&line, owner, &answers);
    if let FileResult::Refused(reason) = &result {
        report(&line, reason, owner, sessions);
    }
    result
}

fn rest_of(file: &mut BufReader<File>) -> io::Result<u64> {
    let start = file.stream_position()?;
    Ok(file.get_ref().metadata()?.len().saturating_sub(start))
}

/// Reports the failure to the sender, who assumes that the message is safe. A failed report is not
/// reported again: if it is not accepted either, only the log has it.
fn report(line: &EnvelopeLine, reason: &str, owner: u32, sessions: &LocalSessions) {
    let ReversePath::Mailbox(sender) = &line.sender else {
        return;
    };
    let text = format!(
        "From: Mail Delivery System <MAILER-DAEMON>\r\nTo: <{sender}>\r\n\
         Subject: Your message was not sent\r\nAuto-Submitted: auto-replied\r\n\r\n\
         A program on this machine left a message from you in the maildrop. The message\r\n\
         cannot be sent to at least one of its recipients:\r\n\r\n    {reason}\r\n\r\n\
         The operator of this machine can find it in maildrop-refused.\r\n"
    );
    let mut report = EnvelopeLine::new(
        ReversePath::Null,
        vec![ForwardPath::Mailbox(sender.clone())],
    );
    report.eight_bit = !text.is_ascii();
    let size = text.len() as u64;
    let _ = send(&report, size, &mut text.as_bytes(), owner, sessions);
}

fn send(
    line: &EnvelopeLine,
    size: u64,
    content: &mut impl Read,
    owner: u32,
    sessions: &LocalSessions,
) -> Result<Vec<Answer>, SubmitError> {
    let message = SubmitError::Message;
    let recipients: Vec<_> = line.recipients().collect();
    let recipients: Vec<_> = recipients.iter().collect();
    let envelope = Envelope {
        sender: &line.sender,
        recipients: &recipients,
        size,
        eight_bit: line.eight_bit,
        utf8: false,
        dsn: &line.dsn,
    };
    let stream = sessions.open(owner, RECIPIENTS).map_err(message)?;
    let patience = Some(PATIENCE);
    stream.set_read_timeout(patience).map_err(message)?;
    stream.set_write_timeout(patience).map_err(message)?;
    let mut submission = Submission::open(stream, "localhost")?;
    let answers = submission.send(&envelope, content)?;
    submission.close();
    Ok(answers)
}

/// Decides about the message as a whole. One permanent refusal means that the operator has to
/// handle it.
fn result_of(line: &EnvelopeLine, owner: u32, answers: &[Answer]) -> FileResult {
    if answers.iter().all(|a| matches!(a, Answer::Taken(_))) {
        return FileResult::Queued;
    }
    let is_partly_taken = answers.iter().any(|a| matches!(a, Answer::Taken(_)));
    let refusals = answers.iter().zip(&line.recipients);
    let refused = refusals.filter_map(|(answer, recipient)| match answer {
        Answer::Refused(_, reply) if reply.is_permanent() || is_partly_taken => {
            Some(format!("<{}>: {reply}", recipient.as_str()))
        }
        Answer::Unsupported(Lack::Room { limit }) => Some(format!(
            "it is larger than limits.message_size, {limit} bytes"
        )),
        Answer::Unsupported(Lack::Utf8) => Some("it needs SMTPUTF8".to_owned()),
        Answer::Refused(..) | Answer::Taken(_) => None,
    });
    match refused.into_iter().next() {
        Some(reason) => FileResult::Refused(format!("uid {owner}: {reason}")),
        None => FileResult::Later,
    }
}
