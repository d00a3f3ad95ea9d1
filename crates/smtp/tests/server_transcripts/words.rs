//! The notation of events in transcripts.

use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::server::{ServerEvent, Transaction};
use relay_smtp::{ForwardPath, Recipient, Reply, ReversePath};

/// Formats an event as in the transcripts.
pub fn describe(event: &ServerEvent, message: &[u8]) -> String {
    let flags = |eight_bit, utf8, dsn: &DsnRequest| {
        let eight_bit = if eight_bit { " 8BITMIME" } else { "" };
        let utf8 = if utf8 { " SMTPUTF8" } else { "" };
        let ret = dsn.ret.map(|ret| format!(" RET={ret}"));
        let envid = dsn.envid.as_ref().map(|id| format!(" ENVID={id}"));
        let (ret, envid) = (ret.unwrap_or_default(), envid.unwrap_or_default());
        format!("{eight_bit}{utf8}{ret}{envid}")
    };
    match event {
        ServerEvent::Mail(request) => {
            let size = request
                .size
                .map_or(String::new(), |size| format!(" SIZE={size}"));
            let flags = flags(request.eight_bit, request.utf8, &request.dsn);
            format!("MAIL {}{size}{flags}", request.sender)
        }
        ServerEvent::Rcpt(recipient) => format!("RCPT {}", with_dsn(recipient)),
        ServerEvent::Data => "DATA".into(),
        ServerEvent::MessageEnd(transaction) => {
            let Transaction {
                sender, recipients, ..
            } = transaction;
            let to: String = recipients.iter().map(with_dsn).collect();
            let Transaction {
                eight_bit,
                utf8,
                dsn,
                ..
            } = transaction;
            let flags = flags(*eight_bit, *utf8, dsn);
            format!("MESSAGE {sender} {to}{flags} {}", message.escape_ascii())
        }
        ServerEvent::Refused(refusal) => {
            let sender = refusal.sender.as_ref().map(ReversePath::to_string);
            let recipient = refusal.recipient.as_ref().map(ForwardPath::to_string);
            let code = refusal.reply.code().to_string();
            let words = [Some(refusal.command.into()), sender, recipient, Some(code)];
            let words: Vec<String> = words.into_iter().flatten().collect();
            format!("REFUSED {}", words.join(" "))
        }
        ServerEvent::Close => "CLOSE".into(),
        ServerEvent::StartTls => "STARTTLS".into(),
        ServerEvent::Authenticate(login) => {
            let (user, secret) = (&login.user, login.secret.expose());
            format!("AUTH {} {user} {secret}", login.mechanism)
        }
        ServerEvent::ScramUser(user) => format!("SCRAM {user}"),
        ServerEvent::ScramDone { user, verified } => {
            let verdict = if *verified { "good" } else { "bad" };
            format!("PROOF {user} {verdict}")
        }
        ServerEvent::Content | ServerEvent::Flush => format!("{event:?}"),
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

/// `<u@d.test>`, with its DSN parameters in brackets.
fn with_dsn(recipient: &Recipient) -> String {
    let Recipient {
        path,
        notify,
        orcpt,
    } = recipient;
    let notify = (*notify != Notify::Unspecified).then(|| format!("[NOTIFY={notify}]"));
    let orcpt = orcpt.as_ref().map(|orcpt| format!("[ORCPT={orcpt}]"));
    let (notify, orcpt) = (notify.unwrap_or_default(), orcpt.unwrap_or_default());
    format!("{path}{notify}{orcpt}")
}
