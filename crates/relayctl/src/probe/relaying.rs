//! The ways in which servers have been talked into relaying.

use relay_smtp::ForwardPath;
use relay_smtp::client::TlsUse;
use serde::Serialize;

use super::Outcome;
use super::dialogue::{Dialogue, End};
use super::target::Place;
use super::visit::{Came, Visit, Visitor};

/// RFC 5321 §3.8: the server closes the connection.
const CLOSING: u16 = 421;

/// One way to ask for a stranger's mail to be sent to a stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    /// What is between the angle brackets of MAIL FROM.
    pub(super) mail: String,
    /// What is between those of RCPT TO.
    pub(super) rcpt: String,
}

/// What the server said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tried {
    pub(super) mail: String,
    pub(super) rcpt: String,
    pub(super) taken: bool,
    pub(super) reply: String,
}

/// The strangers, and the server as it is known.
#[derive(Debug)]
pub(super) struct Strangers<'a> {
    /// A sender that the server does not know.
    pub(super) sender: &'a str,
    /// The parts of a recipient's address that is not the server's.
    pub(super) local: &'a str,
    pub(super) domain: &'a str,
    /// The server's name.
    pub(super) host: &'a str,
    /// Its address, as a literal.
    pub(super) literal: &'a str,
}

/// The plain way, senders that a careless server trusts, and recipients that look like its own or hide
/// where they lead: by quotes, the percent hack, UUCP's bangs, two @, and source routes (RFC 5321 §3.6.1
/// and appendix C).
pub(super) fn variants(strangers: &Strangers<'_>) -> Vec<Variant> {
    let Strangers {
        sender,
        local,
        domain,
        host,
        literal,
    } = strangers;
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
        // A server that is known by its address alone has no name to try beside it.
        if !all.contains(&variant) {
            all.push(variant);
        }
    }
    all
}

impl Visitor<'_> {
    /// Each variant up to RCPT.
    pub(super) async fn try_relaying(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        place: &Place,
        tls: TlsUse,
        visit: &mut Visit,
    ) -> Came {
        let variants = self.variants(place);
        let mut is_open = true;
        for variant in &variants {
            if !is_open {
                // A server may hang up on who is refused too often.
                if let Err(why) = self.again(dialogue, place, tls, visit).await {
                    let count = visit.relaying.len();
                    let detail = format!("{why}, after {count} of {} variants", variants.len());
                    return Came::new(Outcome::Refused, true, detail);
                }
            }
            let (taken, reply) = match try_variant(dialogue, variant).await {
                Ok(answer) => {
                    is_open = true;
                    answer
                }
                Err(End::Refused(why) | End::Broken(why) | End::Tls(why)) => {
                    is_open = false;
                    (false, why)
                }
            };
            let Variant { mail, rcpt } = variant.clone();
            visit.relaying.push(Tried {
                mail,
                rcpt,
                taken,
                reply: dialogue.without_secrets(&reply),
            });
        }
        judge(&visit.relaying)
    }

    async fn again(
        &self,
        dialogue: &mut Dialogue<'_, '_>,
        place: &Place,
        tls: TlsUse,
        visit: &mut Visit,
    ) -> Result<(), String> {
        dialogue.connect_again(place).await?;
        match self.open(dialogue, place, tls, visit).await {
            Ok(_) => Ok(()),
            Err(End::Refused(why) | End::Broken(why) | End::Tls(why)) => Err(why),
        }
    }

    fn variants(&self, place: &Place) -> Vec<Variant> {
        let sender = self.sender();
        let mailbox = self.args.to.as_ref().and_then(ForwardPath::mailbox);
        let ip = place.address.ip();
        let literal = if ip.is_ipv4() {
            format!("[{ip}]")
        } else {
            format!("[IPv6:{ip}]")
        };
        let is_address = place.host == ip.to_string();
        variants(&Strangers {
            sender: sender.as_str(),
            local: mailbox.map_or("relay-test", |m| m.local_part()),
            domain: mailbox.map_or("example.com", |m| m.domain()),
            host: if is_address { &literal } else { &place.host },
            literal: &literal,
        })
    }
}

/// Whether the server takes the recipient, and its words.
async fn try_variant(
    dialogue: &mut Dialogue<'_, '_>,
    variant: &Variant,
) -> Result<(bool, String), End> {
    let Variant { mail, rcpt } = variant;
    dialogue.exchange("RSET").await?;
    for (command, is_last) in [
        (format!("MAIL FROM:<{mail}>"), false),
        (format!("RCPT TO:<{rcpt}>"), true),
    ] {
        let reply = dialogue.exchange(&command).await?;
        if reply.code() == CLOSING {
            return Err(End::Refused(reply.to_string()));
        }
        if is_last || !reply.is_positive() {
            return Ok((reply.is_positive(), reply.to_string()));
        }
    }
    Ok((false, String::new()))
}

fn judge(tried: &[Tried]) -> Came {
    let mut taken = tried.iter().filter(|t| t.taken);
    let Some(first) = taken.next() else {
        let detail = format!("no open relay: all {} variants were refused", tried.len());
        return Came::new(Outcome::Accepted, true, detail);
    };
    let detail = format!(
        "an open relay, unless this machine may relay there: of {} variants {} were taken, the first \
         MAIL FROM:<{}> RCPT TO:<{}>",
        tried.len(),
        1 + taken.count(),
        first.mail,
        first.rcpt
    );
    Came::new(Outcome::Refused, true, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_variant_is_tried_twice_and_each_leads_to_the_stranger() {
        for (host, count) in [("mx.test", 16), ("[192.0.2.1]", 13)] {
            let variants = variants(&Strangers {
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
