//! Every reply that the server can give, on one screen; qmail's wording where qmail has one.
//!
//! The text is constant and plain: detail goes to the log, never to the peer.

use std::fmt;

use crate::reply::Reply;
use crate::sasl::Mechanism;

macro_rules! replies {
    ($($(#[$meaning:meta])* $name:ident: $code:literal $subject:literal $detail:literal $text:literal;)*) => {$(
        $(#[$meaning])*
        pub fn $name() -> Reply {
            Reply::new($code, $subject, $detail, $text)
        }
    )*};
}

// Name, code, subject and detail of the enhanced status (its class is the code's), text.
replies! {
    /// STARTTLS: the handshake may begin (RFC 3207 §4).
    start_tls: 220 0 0 "ready for TLS";
    /// The client is who it says (RFC 4954 §4).
    authenticated: 235 7 0 "ok, logged in";
    /// Done.
    ok: 250 0 0 "ok";
    /// MAIL taken.
    sender_ok: 250 1 0 "ok";
    /// RCPT taken.
    recipient_ok: 250 1 5 "ok";
    /// VRFY and EXPN tell nothing (RFC 5321 §3.5.3).
    verify: 252 0 0 "send some mail, i'll try my best";
    /// HELP.
    help: 214 0 0 "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT: see RFC 5321";
    /// QUIT.
    goodbye: 221 0 0 "goodbye";

    /// The session waited too long for the client.
    timeout: 421 4 2 "timeout (#4.4.2)";
    /// The relay is going down.
    shutting_down: 421 3 2 "sorry, the relay is shutting down (#4.3.2)";
    /// `limits.connections` are open.
    too_many_sessions: 421 7 0 "sorry, too many connections are open here, try again later (#4.7.0)";
    /// `limits.connections_per_client` are open.
    too_many_of_client: 421 7 0 "sorry, too many connections from your address, try again later (#4.7.0)";
    /// `limits.errors` were made.
    too_many_errors: 421 7 0 "sorry, too many errors in this session (#4.7.0)";
    /// The queue could not take the message.
    store_failed: 451 3 0 "qqt failure (#4.3.0)";
    /// The message is to be signed and could not be.
    signing_failed: 451 3 0 "sorry, the message cannot be signed now, try again later (#4.3.0)";
    /// The disk is as full as it may get.
    no_room: 452 3 1 "sorry, the queue has no room for this message now (#4.3.1)";
    /// `limits.recipients` have been taken.
    too_many_recipients: 452 5 3 "sorry, too many recipients in one message, send the rest in another (#4.5.3)";

    /// The credentials cannot be checked now, or not for this client (RFC 4954 §6).
    authentication_unavailable: 454 7 0 "sorry, no logins are taken now, try again later (#4.7.0)";
    /// So many logins have failed.
    too_many_failures: 421 7 0 "sorry, too many failed logins (#4.7.0)";

    /// No such command.
    unknown_command: 500 5 2 "command unrecognized (#5.5.2)";
    /// A command over the limit of RFC 5321 §4.5.3.1.4.
    line_too_long: 500 5 2 "command line too long (#5.5.2)";
    /// A command that ends in LF alone (RFC 5321 §2.3.8).
    bare_newline_in_command: 500 5 2 "a command ends in CR LF (#5.5.2)";
    /// A known command with arguments that cannot be read.
    syntax: 501 5 4 "syntax error (#5.5.4)";
    /// A line of an AUTH exchange over 12288 octets (RFC 4954 §4).
    auth_line_too_long: 500 5 6 "line of authentication too long (#5.5.6)";
    /// A response that is not base64, or not of the mechanism's form (RFC 4954 §4).
    bad_response: 501 5 2 "can't make sense of that response (#5.5.2)";
    /// `*` (RFC 4954 §4).
    authentication_cancelled: 501 7 0 "authentication cancelled (#5.7.0)";
    /// A command that is not offered.
    unimplemented: 502 5 1 "unimplemented (#5.5.1)";
    /// MAIL before EHLO or HELO.
    want_hello: 503 5 1 "EHLO first (#5.5.1)";
    /// RCPT or DATA before MAIL.
    want_mail: 503 5 1 "MAIL first (#5.5.1)";
    /// DATA before a recipient has been taken.
    want_recipient: 503 5 1 "RCPT first (#5.5.1)";
    /// MAIL within a transaction.
    nested_mail: 503 5 1 "one sender at a time (#5.5.1)";
    /// MAIL in clear, where AUTH and so STARTTLS must come first (RFC 3207 §4).
    want_tls: 530 7 0 "STARTTLS first, then authentication (#5.7.0)";
    /// MAIL before AUTH, from one who must (RFC 4954 §6).
    authentication_required: 530 7 0 "authentication required (#5.7.0)";
    /// Wrong, unknown or empty: one and the same (RFC 4954 §6).
    authentication_failed: 535 7 8 "authentication failed (#5.7.8)";
    /// STARTTLS under TLS.
    tls_already: 503 5 1 "TLS is active already (#5.5.1)";
    /// AUTH by one who has logged in (RFC 4954 §4).
    authenticated_already: 503 5 1 "you have logged in already (#5.5.1)";
    /// AUTH within a transaction (RFC 4954 §4).
    auth_in_transaction: 503 5 1 "not within a transaction (#5.5.1)";
    /// AUTH by a mechanism that is not offered (RFC 4954 §4).
    unknown_mechanism: 504 5 4 "mechanism not implemented (#5.5.4)";
    /// AUTH in clear (RFC 4954 §6).
    encryption_required: 538 7 11 "sorry, i take no logins without TLS (#5.7.11)";
    /// A parameter of MAIL or RCPT that is not offered.
    unknown_parameter: 555 5 4 "parameter not implemented (#5.5.4)";
    /// SIZE or the message itself is over `limits.message_size`.
    too_big: 552 3 4 "sorry, that message size exceeds my databytes limit (#5.3.4)";
    /// The header section is over `limits.header_size`.
    header_too_big: 552 3 4 "sorry, that message's header is too big for me (#5.3.4)";
    /// `relay.bad_senders`.
    bad_mail_from: 553 7 1 "sorry, your envelope sender is in my badmailfrom list (#5.7.1)";
    /// A sender that the user who has logged in may not be.
    not_your_sender: 553 7 1 "sorry, you may not send as that address (#5.7.1)";
    /// A stranger to a domain that is not ours.
    no_gateway: 553 7 1 "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)";
    /// An address in UTF-8 without the SMTPUTF8 parameter (RFC 6531 §3.5).
    needs_smtputf8: 553 6 7 "sorry, an address in UTF-8 needs SMTPUTF8 (#5.6.7)";
    /// 100 Received fields: a loop.
    too_many_hops: 554 4 6 "too many hops, this message is looping (#5.4.6)";
    /// A bare CR or LF in the message.
    bare_newline: 554 6 0 "sorry, a line of the message ends in a bare CR or LF (#5.6.0)";
    /// A stranger's message is from more domains than are judged by their policies.
    too_many_authors: 550 7 1 "sorry, the message is from too many domains (#5.7.1)";
    /// A NUL in the message.
    nul: 554 6 0 "sorry, the message holds a NUL (#5.6.0)";
    /// A line of the message over `limits.line_length`.
    message_line_too_long: 554 6 0 "sorry, a line of the message is too long (#5.6.0)";
}

/// A stranger's address is on a block list (RFC 5782 §2.1); `text` is the list's own, printable and short.
pub fn listed(client: &str, list: &str, text: &str) -> Reply {
    let colon = if text.is_empty() { "" } else { ": " };
    let text = format!("sorry, [{client}] is listed by {list}{colon}{text} (#5.7.1)");
    Reply::new(550, 7, 1, text)
}

/// A stranger's message fails the policy of the domain that it is from (RFC 7489 §10.3, RFC 7372 §3.2).
pub fn disowned(domain: &str, spf: &str, dkim: &str) -> Reply {
    let text = format!(
        "sorry, {domain} has mail refused that fails DMARC: SPF {spf}, DKIM {dkim}, none aligned (#5.7.26)"
    );
    Reply::new(550, 7, 26, text)
}

/// `250 … queued as ID`: the relay has taken responsibility; the id is the last word.
pub fn queued(id: &impl fmt::Display) -> Reply {
    Reply::new(250, 0, 0, format!("ok queued as {id}"))
}

/// The greeting, which starts with our name (RFC 5321 §4.2).
pub fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, vec![format!("{hostname} ESMTP").into()])
}

/// The answer to HELO.
pub fn hello(hostname: &str) -> Reply {
    Reply::plain(250, vec![hostname.to_owned().into()])
}

/// The answer to EHLO: what is offered, a line each (RFC 5321 §4.1.1.1).
pub fn extended_hello(hostname: &str, message_size: u64, security: Option<Security>) -> Reply {
    let mut lines = vec![
        hostname.to_owned().into(),
        "PIPELINING".into(),
        format!("SIZE {message_size}").into(),
        "8BITMIME".into(),
        "ENHANCEDSTATUSCODES".into(),
        "DSN".into(),
        "SMTPUTF8".into(),
    ];
    lines.extend(security.map(|offer| match offer {
        Security::StartTls => "STARTTLS".into(),
        Security::Auth => {
            format!("AUTH {}", Mechanism::SERVED.map(Mechanism::name).join(" ")).into()
        }
    }));
    Reply::plain(250, lines)
}

/// What a client is offered against others on its way, or to be known by: never both, for AUTH
/// comes only behind TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth,
}

/// The next word of the server in an AUTH exchange, in base64 (RFC 4954 §4).
pub fn challenge(text: &str) -> Reply {
    Reply::plain(334, vec![text.to_owned().into()])
}

/// The client may send the message.
pub fn go_ahead() -> Reply {
    Reply::plain(354, vec!["go ahead".into()])
}
