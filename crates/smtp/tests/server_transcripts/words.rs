//! The words of a transcript.

use relay_smtp::server::{Event, Transaction};
use relay_smtp::{ForwardPath, Reply, ReversePath};

/// An event as the transcripts write it.
pub fn describe(event: &Event, message: &[u8]) -> String {
    let flags = |eight_bit, utf8| {
        let eight_bit = if eight_bit { " 8BITMIME" } else { "" };
        let utf8 = if utf8 { " SMTPUTF8" } else { "" };
        format!("{eight_bit}{utf8}")
    };
    match event {
        Event::Mail(request) => {
            let size = request
                .size
                .map_or(String::new(), |size| format!(" SIZE={size}"));
            let flags = flags(request.eight_bit, request.utf8);
            format!("MAIL {}{size}{flags}", request.sender)
        }
        Event::Rcpt(recipient) => format!("RCPT {recipient}"),
        Event::Data => "DATA".into(),
        Event::MessageEnd(transaction) => {
            let Transaction {
                sender, recipients, ..
            } = transaction;
            let to: String = recipients.iter().map(ToString::to_string).collect();
            let flags = flags(transaction.eight_bit, transaction.utf8);
            format!("MESSAGE {sender} {to}{flags} {}", message.escape_ascii())
        }
        Event::Refused(refusal) => {
            let sender = refusal.sender.as_ref().map(ReversePath::to_string);
            let recipient = refusal.recipient.as_ref().map(ForwardPath::to_string);
            let code = refusal.reply.code().to_string();
            let words = [Some(refusal.command.into()), sender, recipient, Some(code)];
            let words: Vec<String> = words.into_iter().flatten().collect();
            format!("REFUSED {}", words.join(" "))
        }
        Event::Close => "CLOSE".into(),
        Event::StartTls => "STARTTLS".into(),
        Event::Authenticate(login) => {
            let (user, secret) = (&login.user, login.secret.expose());
            format!("AUTH {} {user} {secret}", login.mechanism)
        }
        Event::ScramUser(user) => format!("SCRAM {user}"),
        Event::ScramDone { user, verified } => {
            let verdict = if *verified { "good" } else { "bad" };
            format!("PROOF {user} {verdict}")
        }
        Event::Content | Event::Flush => format!("{event:?}"),
    }
}

/// `553 5.7.1 text`
pub fn reply(text: &str) -> Reply {
    let mut words = text.splitn(3, ' ');
    let code = words.next().and_then(|code| code.parse().ok());
    let status = words.next().and_then(|status| status.parse().ok());
    let line = words.next().unwrap_or_default().to_owned();
    Reply::received(code.expect(text), status, vec![line])
}
