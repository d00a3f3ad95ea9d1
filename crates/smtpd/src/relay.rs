//! Who may send what to whom: `tcp.smtp`, `rcpthosts` and `badmailfrom` of qmail.

use std::net::IpAddr;

use ipnet::IpNet;
use relay_smtp::pattern::{AddressPattern, DomainPattern};
use relay_smtp::server::replies;
use relay_smtp::{ForwardPath, Mailbox, Reply, ReversePath};

/// The operator's relay rules. By default no client may relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayRules {
    /// Clients that may send to any domain.
    pub networks: Vec<IpNet>,
    /// Domains that anyone may send to.
    pub domains: Vec<DomainPattern>,
    /// Senders that are refused.
    pub bad_senders: Vec<AddressPattern>,
}

impl RelayRules {
    /// Whether this client may send to any domain. An IPv4 client of a dual-stack socket is
    /// compared by its IPv4 address.
    pub fn may_relay(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&client))
    }

    /// Checks the sender (MAIL).
    pub fn check_sender(&self, sender: &ReversePath) -> Result<(), Reply> {
        let mailbox = sender.mailbox();
        if mailbox.is_some_and(|sender| self.bad_senders.iter().any(|bad| bad.matches(sender))) {
            Err(replies::bad_mail_from())
        } else {
            Ok(())
        }
    }

    /// Checks a recipient (RCPT). Local parts are not interpreted: `user%elsewhere@ours` is mail
    /// for us and never goes elsewhere. An address literal does not count as one of our domains,
    /// even if the address is ours.
    pub fn check_recipient(&self, may_relay: bool, recipient: &Mailbox) -> Result<(), Reply> {
        let domain = recipient.domain();
        if may_relay || self.domains.iter().any(|ours| ours.matches(domain)) {
            Ok(())
        } else {
            Err(replies::no_gateway())
        }
    }
}

/// Whether this recipient is the postmaster here, to whom any client may send (RFC 5321 §4.5.1).
pub(crate) fn is_our_postmaster(recipient: &ForwardPath, hostname: &str) -> bool {
    match recipient {
        ForwardPath::Postmaster => true,
        ForwardPath::Mailbox(mailbox) => {
            is_postmaster(mailbox) && mailbox.domain().eq_ignore_ascii_case(hostname)
        }
    }
}

/// Whether this is the postmaster of its domain.
pub(crate) fn is_postmaster(mailbox: &Mailbox) -> bool {
    mailbox.local_part().eq_ignore_ascii_case("postmaster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> RelayRules {
        RelayRules {
            networks: ["127.0.0.0/8", "2001:db8::/32"]
                .map(|n| n.parse().expect(n))
                .into(),
            domains: ["local.test", ".sub.test"]
                .map(|d| d.parse().expect(d))
                .into(),
            bad_senders: ["spammer@spam.test", "@bad.test", "*@worse.test"]
                .map(|s| s.parse().expect(s))
                .into(),
        }
    }

    #[test]
    fn a_mapped_ipv4_client_is_compared_by_its_ipv4_address() {
        for (client, may) in [
            ("127.0.0.1", true),
            ("::ffff:127.9.9.9", true),
            ("2001:db8::1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("::1", false),
        ] {
            assert_eq!(
                rules().may_relay(client.parse().expect(client)),
                may,
                "{client}"
            );
        }
    }

    #[test]
    fn an_external_client_reaches_only_our_domains() {
        for (recipient, taken) in [
            ("u@local.test", true),
            ("u@LOCAL.Test", true),
            ("u@a.sub.test", true),
            ("u@a.b.Sub.test", true),
            ("u@sub.test", false),
            ("u@xsub.test", false),
            ("u@a.local.test", false),
            ("u@notlocal.test", false),
            ("u@dest.test", false),
            ("u@[127.0.0.1]", false),
            ("u%dest.test@local.test", true),
            ("u@bücher.sub.test", true),
            ("u@ü.test", false),
        ] {
            let mailbox: Mailbox = recipient.parse().expect(recipient);
            let verdict = rules().check_recipient(false, &mailbox);
            assert_eq!(verdict.is_ok(), taken, "{recipient}");
            assert!(rules().check_recipient(true, &mailbox).is_ok());
        }
    }

    #[test]
    fn bad_senders_are_matched_whole_and_in_any_case() {
        for (sender, bad) in [
            ("spammer@spam.test", true),
            ("SPAMMER@Spam.test", true),
            ("other@spam.test", false),
            ("any@BAD.test", true),
            ("any@sub.bad.test", false),
            ("any@Worse.test", true),
            ("", false),
        ] {
            let path: ReversePath = sender.parse().expect(sender);
            assert_eq!(rules().check_sender(&path).is_err(), bad, "{sender}");
        }
    }

    #[test]
    fn postmaster_is_ours_without_a_domain_or_at_our_name() {
        for (recipient, ours) in [
            ("Postmaster", true),
            ("postMASTER@Relay.test", true),
            ("postmaster@other.test", false),
            ("user@relay.test", false),
        ] {
            let path: ForwardPath = recipient.parse().expect(recipient);
            assert_eq!(is_our_postmaster(&path, "relay.test"), ours, "{recipient}");
        }
    }
}
