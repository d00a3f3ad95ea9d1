//! Known ways to make a server relay by mistake.

use relay_smtp::client::TlsUse;
use relay_smtp::{ForwardPath, Reply};

use super::dialogue::{Dialogue, End, SessionError};
use super::result::{Observed, Outcome, RelayAnswer, StepResult, Tried};
use super::session::Prober;
use super::target::Endpoint;

/// RFC 5321 §3.8: the server closes the connection.
const CLOSING: u16 = 421;
/// How often a variant is tried, each time on a new connection. A server may disconnect clients
/// that were refused too often, and this says nothing about the current variant.
const TRIES: usize = 2;

/// One way to request that mail from a foreign sender be sent to a foreign recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    /// The text between the angle brackets of MAIL FROM.
    pub(super) mail: String,
    /// The text between the angle brackets of RCPT TO.
    pub(super) rcpt: String,
}

/// The foreign addresses, and the names of the server.
#[derive(Debug)]
pub(super) struct ForeignAddresses<'a> {
    /// A sender that is not local to the server.
    pub(super) sender: &'a str,
    /// The parts of a recipient address that is not local to the server.
    pub(super) local: &'a str,
    pub(super) domain: &'a str,
    /// The name of the server.
    pub(super) host: &'a str,
    /// The address of the server as a literal.
    pub(super) literal: &'a str,
}

/// Returns the plain request, then senders that a careless server trusts, and recipients that look
/// local or hide their destination: quotes, the percent hack, bang paths of UUCP, two @, and source
/// routes (RFC 5321 §3.6.1 and appendix C).
pub(super) fn variants(foreign: &ForeignAddresses<'_>) -> Vec<Variant> {
    let ForeignAddresses {
        sender,
        local,
        domain,
        host,
        literal,
    } = foreign;
    let plain = format!("{local}@{domain}");
    let senders = [
        (*sender).to_owned(),
        String::new(),
        format!("postmaster@{host}"),
        format!("postmaster@{literal}"),
        "postmaster".to_owned(),
    ];
    let hidden = [
        format!("\"{plain}\""),
        format!("{local}%{domain}"),
        format!("{local}%{domain}@{host}"),
        format!("{local}%{domain}@{literal}"),
        format!("\"{plain}\"@{host}"),
        format!("\"{local}%{domain}\"@{host}"),
        format!("{plain}@{host}"),
        format!("{plain}@{literal}"),
        format!("@{host}:{plain}"),
        format!("{domain}!{local}"),
        format!("{domain}!{local}@{host}"),
    ];
    let by_sender = senders.map(|mail| Variant {
        mail,
        rcpt: plain.clone(),
    });
    let by_recipient = hidden.map(|rcpt| Variant {
        mail: (*sender).to_owned(),
        rcpt,
    });
    let mut all: Vec<Variant> = Vec::new();
    for variant in by_sender.into_iter().chain(by_recipient) {
        // A server that is known by its address only has no name to try in addition.
        if !all.contains(&variant) {
            all.push(variant);
        }
    }
    all
}

impl Prober<'_> {
    /// Tries each variant up to RCPT.
    pub(super) async fn try_relaying(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        endpoint: &Endpoint,
        tls: TlsUse,
        observed: &mut Observed,
    ) -> StepResult {
        let mut is_open = true;
        for variant in self.variants(endpoint) {
            let mut result = (RelayAnswer::Undecided, String::new());
            for _ in 0..TRIES {
                if !is_open && let Err(error) = self.again(dialogue, endpoint, tls, observed).await
                {
                    result.1 = error.to_string();
                    continue;
                }
                match try_variant(dialogue, &variant).await {
                    Ok(answer) => {
                        is_open = true;
                        result = answer;
                        break;
                    }
                    Err(end) => {
                        is_open = false;
                        result.1 = end.to_string();
                    }
                }
            }
            let (answer, reply) = result;
            let Variant { mail, rcpt } = variant;
            observed.relaying.push(Tried {
                mail,
                rcpt,
                answer,
                reply: dialogue.without_secrets(&reply),
            });
        }
        judge(&observed.relaying)
    }

    async fn again(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        endpoint: &Endpoint,
        tls: TlsUse,
        observed: &mut Observed,
    ) -> Result<(), SessionError> {
        dialogue.connect_again(endpoint).await?;
        self.open(dialogue, endpoint, tls, observed).await?;
        Ok(())
    }

    fn variants(&self, endpoint: &Endpoint) -> Vec<Variant> {
        let sender = self.sender();
        let mailbox = self.args.to.as_ref().and_then(ForwardPath::mailbox);
        let ip = endpoint.address.ip();
        let literal = if ip.is_ipv4() {
            format!("[{ip}]")
        } else {
            format!("[IPv6:{ip}]")
        };
        let is_address = endpoint.host == ip.to_string();
        variants(&ForeignAddresses {
            sender: sender.as_str(),
            local: mailbox.map_or("relay-test", |m| m.local_part()),
            domain: mailbox.map_or("example.com", |m| m.domain()),
            host: if is_address { &literal } else { &endpoint.host },
            literal: &literal,
        })
    }
}

/// Returns whether the server accepts the recipient, and its reply.
async fn try_variant(
    dialogue: &mut Dialogue<'_, '_>,
    variant: &Variant,
) -> Result<(RelayAnswer, String), End> {
    let Variant { mail, rcpt } = variant;
    still_open(dialogue.exchange("RSET").await?)?;
    let mail = format!("MAIL FROM:<{mail}>");
    let reply = still_open(dialogue.exchange(&mail).await?)?;
    if !reply.is_positive() {
        return Ok((answer(&reply), reply.to_string()));
    }
    let rcpt = format!("RCPT TO:<{rcpt}>");
    let reply = still_open(dialogue.exchange(&rcpt).await?)?;
    Ok((answer(&reply), reply.to_string()))
}

fn still_open(reply: Reply) -> Result<Reply, End> {
    if reply.code() == CLOSING {
        Err(End::Refused(reply.to_string()))
    } else {
        Ok(reply)
    }
}

fn answer(reply: &Reply) -> RelayAnswer {
    match reply.code() {
        200..=299 => RelayAnswer::Taken,
        500..=599 => RelayAnswer::Refused,
        _ => RelayAnswer::Undecided,
    }
}

fn judge(tried: &[Tried]) -> StepResult {
    let of = |answer| tried.iter().filter(move |t| t.answer == answer);
    let all = tried.len();
    if let Some(first) = of(RelayAnswer::Taken).next() {
        let detail = format!(
            "an open relay, unless this machine may relay there: of {all} variants {} were accepted, the \
             first MAIL FROM:<{}> RCPT TO:<{}>",
            of(RelayAnswer::Taken).count(),
            first.mail,
            first.rcpt
        );
        return StepResult::new(Outcome::Refused, true, detail);
    }
    if let Some(first) = of(RelayAnswer::Undecided).next() {
        let detail = format!(
            "cannot tell whether this is an open relay: none of {all} variants was accepted, but {} got \
             no permanent reply, the first of them: {}",
            of(RelayAnswer::Undecided).count(),
            first.reply
        );
        return StepResult::new(Outcome::Refused, true, detail);
    }
    let detail = format!("not an open relay: all {all} variants were refused");
    StepResult::new(Outcome::Accepted, true, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_variant_is_tried_twice_and_each_has_the_foreign_recipient() {
        for (host, count) in [("mx.test", 16), ("[192.0.2.1]", 13)] {
            let variants = variants(&ForeignAddresses {
                sender: "s@a.test",
                local: "r",
                domain: "b.test",
                host,
                literal: "[192.0.2.1]",
            });
            let different: HashSet<_> = variants.iter().map(|v| (&v.mail, &v.rcpt)).collect();
            assert_eq!((different.len(), variants.len()), (count, count), "{host}");
            assert!(variants.iter().all(|v| v.rcpt.contains("b.test")));
            assert_eq!(variants[0].rcpt, "r@b.test");
        }
    }
}
