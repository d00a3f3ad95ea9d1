//! One message that was left, handed in.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::time::Duration;

use relay_control::maildrop::{Leaf, LeafError, RECIPIENTS};
use relay_control::submit::{Submission, SubmitError};
use relay_smtp::client::{Answer, Envelope, Lack};
use relay_smtpd::Door;

/// For a reply. Who gives up before the server does, hands in twice what is in the queue already; a
/// session that is broken off ends its stream.
const PATIENCE: Duration = Duration::from_mins(10);

/// What has a name in the folder.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, and whose it is.
    Leaf(File, u32),
    /// Something else, or a file that is no message; why.
    Wrong(String),
    /// It has gone meanwhile.
    Nothing,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the queue.
    Queued,
    /// It can never be taken; why.
    Refused(String),
    /// It cannot be taken now.
    Later,
    /// It is nobody's business for now, or has gone meanwhile.
    Left,
}

/// Hands a message in as its owner.
pub(super) fn hand_in(file: File, owner: u32, door: &Door) -> Fate {
    let mut file = BufReader::new(file);
    let leaf = match Leaf::read(&mut file) {
        Ok(leaf) => leaf,
        Err(LeafError::Io(_)) => return Fate::Later,
        Err(reason) => return Fate::Refused(format!("uid {owner}: {reason}")),
    };
    match submit(&leaf, file, owner, door) {
        Ok(answers) => fate_of(&leaf, owner, &answers),
        // The server goes down, is busy, or the disk is bad: another time.
        Err(_) => Fate::Later,
    }
}

fn submit(
    leaf: &Leaf,
    mut file: BufReader<File>,
    owner: u32,
    door: &Door,
) -> Result<Vec<Answer>, SubmitError> {
    let message = SubmitError::Message;
    let start = file.stream_position().map_err(message)?;
    let length = file.get_ref().metadata().map_err(message)?.len();
    let size = length.saturating_sub(start);
    let recipients: Vec<_> = leaf.recipients().collect();
    let recipients: Vec<_> = recipients.iter().collect();
    let envelope = Envelope {
        sender: &leaf.sender,
        recipients: &recipients,
        size,
        eight_bit: leaf.eight_bit,
        utf8: false,
        dsn: &leaf.dsn,
    };
    let stream = door.enter(owner, RECIPIENTS).map_err(message)?;
    let patience = Some(PATIENCE);
    stream.set_read_timeout(patience).map_err(message)?;
    stream.set_write_timeout(patience).map_err(message)?;
    let mut submission = Submission::open(stream, "localhost")?;
    // What grows while it is read has no end.
    let answers = submission.send(&envelope, &mut file.take(size))?;
    submission.close();
    Ok(answers)
}

/// One answer that is no for good makes the whole message one for the operator.
fn fate_of(leaf: &Leaf, owner: u32, answers: &[Answer]) -> Fate {
    if answers.iter().all(|a| matches!(a, Answer::Taken(_))) {
        return Fate::Queued;
    }
    let is_partly_taken = answers.iter().any(|a| matches!(a, Answer::Taken(_)));
    let refusals = answers.iter().zip(&leaf.recipients);
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
        Some(reason) => Fate::Refused(format!("uid {owner}: {reason}")),
        None => Fate::Later,
    }
}
