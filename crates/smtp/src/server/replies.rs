//! Every reply of the server. The wording is qmail's where qmail has the reply.
//!
//! The text is constant and plain. Details go to the log, never to the peer.

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

// Each line: name, code, subject and detail of the enhanced status (the code gives its class),
// text.
replies! {
    /// STARTTLS: the handshake may begin (RFC 3207 §4).
    start_tls: 220 0 0 "ready for TLS";
    /// The login succeeded (RFC 4954 §4).
    authenticated: 235 7 0 "ok, logged in";
    /// The command succeeded.
    ok: 250 0 0 "ok";
    /// MAIL is accepted.
    sender_ok: 250 1 0 "ok";
    /// RCPT is accepted.
    recipient_ok: 250 1 5 "ok";
    /// VRFY and EXPN reveal nothing (RFC 5321 §3.5.3).
    verify: 252 0 0 "send some mail, i'll try my best";
    /// HELP.
    help: 214 0 0 "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT: see RFC 5321";
    /// QUIT.
    goodbye: 221 0 0 "goodbye";

    /// The client took too long.
    timeout: 421 4 2 "timeout (#4.4.2)";
    /// The relay is shutting down.
    shutting_down: 421 3 2 "sorry, the relay is shutting down (#4.3.2)";
    /// `limits.connections` is reached.
    too_many_sessions: 421 7 0 "sorry, too many connections are open here, try again later (#4.7.0)";
    /// `limits.connections_per_client` is reached.
    too_many_of_client: 421 7 0 "sorry, too many connections from your address, try again later (#4.7.0)";
    /// `limits.errors` is exceeded.
    too_many_errors: 421 7 0 "sorry, too many errors in this session (#4.7.0)";
    /// The queue could not take the message.
    store_failed: 451 3 0 "qqt failure (#4.3.0)";
    /// The message must be signed and could not be.
    signing_failed: 451 3 0 "sorry, the message cannot be signed now, try again later (#4.3.0)";
    /// The disk has reached its limit.
    no_room: 452 3 1 "sorry, the queue has no room for this message now (#4.3.1)";
    /// `limits.recipients` is reached.
    too_many_recipients: 452 5 3 "sorry, too many recipients in one message, send the rest in another (#4.5.3)";

    /// Logins cannot be checked now, or not for this client (RFC 4954 §6).
    authentication_unavailable: 454 7 0 "sorry, no logins are taken now, try again later (#4.7.0)";
    /// Too many logins have failed.
    too_many_failures: 421 7 0 "sorry, too many failed logins (#4.7.0)";

    /// The command is unknown.
    unknown_command: 500 5 2 "command unrecognized (#5.5.2)";
    /// The command is longer than RFC 5321 §4.5.3.1.4 allows.
    line_too_long: 500 5 2 "command line too long (#5.5.2)";
    /// The command ends with LF alone (RFC 5321 §2.3.8).
    bare_newline_in_command: 500 5 2 "a command ends in CR LF (#5.5.2)";
    /// The command is known, but its arguments are invalid.
    syntax: 501 5 4 "syntax error (#5.5.4)";
    /// A line of an AUTH exchange is longer than 12288 octets (RFC 4954 §4).
    auth_line_too_long: 500 5 6 "line of authentication too long (#5.5.6)";
    /// A response is not base64, or does not follow the mechanism's grammar (RFC 4954 §4).
    bad_response: 501 5 2 "can't make sense of that response (#5.5.2)";
    /// The client cancelled AUTH with `*` (RFC 4954 §4).
    authentication_cancelled: 501 7 0 "authentication cancelled (#5.7.0)";
    /// The command is not offered.
    unimplemented: 502 5 1 "unimplemented (#5.5.1)";
    /// MAIL came before EHLO or HELO.
    want_hello: 503 5 1 "EHLO first (#5.5.1)";
    /// RCPT or DATA came before MAIL.
    want_mail: 503 5 1 "MAIL first (#5.5.1)";
    /// DATA came before a recipient was accepted.
    want_recipient: 503 5 1 "RCPT first (#5.5.1)";
    /// MAIL came within a transaction.
    nested_mail: 503 5 1 "one sender at a time (#5.5.1)";
    /// MAIL came in clear, but AUTH and therefore STARTTLS must come first (RFC 3207 §4).
    want_tls: 530 7 0 "STARTTLS first, then authentication (#5.7.0)";
    /// MAIL came before AUTH, and the client must log in first (RFC 4954 §6).
    authentication_required: 530 7 0 "authentication required (#5.7.0)";
    /// The user is unknown, or the password is wrong or empty. The reply is the same for all (RFC
    /// 4954 §6).
    authentication_failed: 535 7 8 "authentication failed (#5.7.8)";
    /// STARTTLS came under TLS.
    tls_already: 503 5 1 "TLS is active already (#5.5.1)";
    /// AUTH came after a login (RFC 4954 §4).
    authenticated_already: 503 5 1 "you have logged in already (#5.5.1)";
    /// AUTH came within a transaction (RFC 4954 §4).
    auth_in_transaction: 503 5 1 "not within a transaction (#5.5.1)";
    /// AUTH named a mechanism that is not offered (RFC 4954 §4).
    unknown_mechanism: 504 5 4 "mechanism not implemented (#5.5.4)";
    /// AUTH came in clear (RFC 4954 §6).
    encryption_required: 538 7 11 "sorry, i take no logins without TLS (#5.7.11)";
    /// A parameter of MAIL or RCPT is not offered.
    unknown_parameter: 555 5 4 "parameter not implemented (#5.5.4)";
    /// SIZE or the message itself exceeds `limits.message_size`.
    too_big: 552 3 4 "sorry, that message size exceeds my databytes limit (#5.3.4)";
    /// The header section exceeds `limits.header_size`.
    header_too_big: 552 3 4 "sorry, that message's header is too big for me (#5.3.4)";
    /// The sender is in `relay.bad_senders`.
    bad_mail_from: 553 7 1 "sorry, your envelope sender is in my badmailfrom list (#5.7.1)";
    /// The user who is logged in may not use this sender.
    not_your_sender: 553 7 1 "sorry, you may not send as that address (#5.7.1)";
    /// An external client sent to a domain that is not ours.
    no_gateway: 553 7 1 "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)";
    /// An address in UTF-8 came without the SMTPUTF8 parameter (RFC 6531 §3.5).
    needs_smtputf8: 553 6 7 "sorry, an address in UTF-8 needs SMTPUTF8 (#5.6.7)";
    /// The message has 100 Received fields, so it loops.
    too_many_hops: 554 4 6 "too many hops, this message is looping (#5.4.6)";
    /// The message contains a bare CR or LF.
    bare_newline: 554 6 0 "sorry, a line of the message ends in a bare CR or LF (#5.6.0)";
    /// The From field of an external message has more domains than are checked.
    too_many_authors: 550 7 1 "sorry, the message is from too many domains (#5.7.1)";
    /// A part of From is no address that can be read.
    unreadable_author: 550 7 1 "sorry, a part of the From field cannot be read (#5.7.1)";
    /// The message contains a NUL.
    nul: 554 6 0 "sorry, the message holds a NUL (#5.6.0)";
    /// A line of the message exceeds `limits.line_length`.
    message_line_too_long: 554 6 0 "sorry, a line of the message is too long (#5.6.0)";
}

/// The address of an external client is on a block list (RFC 5782 §2.1). `text` comes from the
/// list; it is printable and short.
pub fn listed(client: &str, list: &str, text: &str) -> Reply {
    let colon = if text.is_empty() { "" } else { ": " };
    let text = format!("sorry, [{client}] is listed by {list}{colon}{text} (#5.7.1)");
    Reply::new(550, 7, 1, text)
}

/// An external message fails the DMARC policy of its author's domain (RFC 7489 §10.3, RFC 7372
/// §3.2).
pub fn fails_dmarc(domain: &str, spf: &str, dkim: &str) -> Reply {
    let text = format!(
        "sorry, {domain} has mail refused that fails DMARC: SPF {spf}, DKIM {dkim}, none aligned (#5.7.26)"
    );
    Reply::new(550, 7, 26, text)
}

/// `250 … queued as ID`: the relay has taken responsibility. The id is the last word of the text.
pub fn queued(id: &impl fmt::Display) -> Reply {
    Reply::new(250, 0, 0, format!("ok queued as {id}"))
}

/// The greeting, which begins with our name (RFC 5321 §4.2).
pub fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, vec![format!("{hostname} ESMTP").into()])
}

/// The reply to HELO.
pub fn hello(hostname: &str) -> Reply {
    Reply::plain(250, vec![hostname.to_owned().into()])
}

/// The reply to EHLO, with one line for each extension (RFC 5321 §4.1.1.1).
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

/// The security extension that EHLO offers. STARTTLS and AUTH are never offered together, because
/// AUTH is offered only under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth,
}

/// A challenge of the server in an AUTH exchange, in base64 (RFC 4954 §4).
pub fn challenge(text: &str) -> Reply {
    Reply::plain(334, vec![text.to_owned().into()])
}

/// The client may send the message.
pub fn go_ahead() -> Reply {
    Reply::plain(354, vec!["go ahead".into()])
}
