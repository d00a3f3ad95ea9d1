//! SPF (RFC 7208): whether the client may send for the domain of MAIL FROM.

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::spf::Spf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MessageAuthenticator, Parameters, SpfOutput, SpfResult as SpfVerdict, Txt};
use relay_remote::dns::{Dns, LookupError};
use relay_smtp::command::ClientName;
use relay_smtpd::inbound_check::MessageSource;

use crate::cache::TxtCache;

/// The result of SPF, and the identity that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpfResult {
    pub(crate) result: SpfVerdict,
    pub(crate) identity: Identity,
}

/// The identity that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// MAIL FROM, as it was given.
    MailFrom(String),
    /// The name in EHLO or HELO, if the sender is null (RFC 7208 §2.4).
    Hello(String),
}

impl Identity {
    pub(crate) fn of(source: &MessageSource) -> Self {
        match source.sender.mailbox() {
            Some(mailbox) => Self::MailFrom(mailbox.as_str().to_owned()),
            None => Self::Hello(hello(source).to_owned()),
        }
    }

    /// The domain that was checked.
    pub(crate) fn domain(&self) -> &str {
        match self {
            Self::MailFrom(address) => address.rsplit_once('@').map_or("", |(_, domain)| domain),
            Self::Hello(name) => name,
        }
    }
}

/// The name in EHLO or HELO; empty if the client gave none.
fn hello(source: &MessageSource) -> &str {
    source.hello.as_ref().map_or("", ClientName::as_str)
}

impl SpfResult {
    /// The result as a type of mail-auth, for DMARC.
    pub(crate) fn output(&self) -> SpfOutput {
        SpfOutput::new(self.identity.domain().to_owned()).with_result(self.result)
    }
}

/// Evaluates the record, with at most the lookups that RFC 7208 §4.6.4 allows.
pub(crate) async fn check(
    dns: &Dns,
    cache: &TxtCache,
    hostname: &str,
    source: &MessageSource,
) -> SpfVerdict {
    let identity = Identity::of(source);
    let Some(client) = source.client else {
        return SpfVerdict::None;
    };
    let domain = identity.domain();
    if let Err(result) = look_up(dns, cache, domain).await {
        return result;
    }
    let Ok(resolver) = dns.resolver() else {
        return SpfVerdict::TempError;
    };
    let hello = hello(source);
    let parameters = match &identity {
        Identity::MailFrom(sender) => {
            SpfParameters::verify_mail_from(client, hello, hostname, sender)
        }
        Identity::Hello(name) => SpfParameters::verify_ehlo(client, name, hostname),
    };
    let parameters = Parameters::new(parameters).with_txt_cache(cache);
    let resolver = MessageAuthenticator(resolver);
    resolver.verify_spf(parameters).await.result()
}

/// Puts the domain's record into the cache, or returns the result if there is no usable record. mail-auth
/// would take the first of several records, which RFC 7208 §4.5 makes an error.
async fn look_up(dns: &Dns, cache: &TxtCache, domain: &str) -> Result<(), SpfVerdict> {
    if domain.is_empty() || domain.starts_with('[') {
        return Err(SpfVerdict::None);
    }
    let texts = match dns.txt(domain).await {
        Ok(texts) => texts,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => return Err(SpfVerdict::None),
        Err(LookupError::Unavailable(_)) => return Err(SpfVerdict::TempError),
    };
    let mut records = texts.iter().filter(|text| is_spf(text));
    match (records.next(), records.next()) {
        (None, _) => Err(SpfVerdict::None),
        (Some(_), Some(_)) => Err(SpfVerdict::PermError),
        (Some(record), None) => {
            let record = Spf::parse(record).map_err(|_| SpfVerdict::PermError)?;
            cache.set(domain, Txt::from(record));
            Ok(())
        }
    }
}

/// RFC 7208 §4.5
fn is_spf(text: &[u8]) -> bool {
    let version = text.split(|octet| *octet == b' ').next();
    version.is_some_and(|version| version.eq_ignore_ascii_case(b"v=spf1"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use relay_smtpd::inbound_check::QueueId;
    use relay_testkit::{FakeDns, Trouble};

    use super::*;

    fn source(sender: &str, client: &str) -> MessageSource {
        MessageSource {
            id: QueueId::from_bits(1),
            client: client.parse().ok(),
            hello: ClientName::parse("mx.a.test"),
            sender: sender.parse().expect("a reverse-path"),
            begun: UNIX_EPOCH,
        }
    }

    async fn checked(fake: &FakeDns, sender: &str, client: &str) -> SpfVerdict {
        let dns = Dns::new(&[fake.address()]);
        check(
            &dns,
            &TxtCache::default(),
            "our.test",
            &source(sender, client),
        )
        .await
    }

    #[tokio::test]
    async fn the_record_decides() {
        for (records, result) in [
            (
                &["v=spf1 ip4:192.0.2.7 -all", "unrelated"][..],
                SpfVerdict::Pass,
            ),
            (&["v=spf1 -all"], SpfVerdict::Fail),
            (&["v=spf1 ~all"], SpfVerdict::SoftFail),
            (&["v=spf1 ?all"], SpfVerdict::Neutral),
            (&["v=spf1"], SpfVerdict::Neutral),
            (&["v=spf1 include:b.test -all"], SpfVerdict::Pass),
            (&["v=spf1 include:broken.test -all"], SpfVerdict::TempError),
            (&["v=spf1 a:broken.test -all"], SpfVerdict::TempError),
            (&["v=spf1 include:gone.test -all"], SpfVerdict::PermError),
            (&["v=spf1 include:a.test -all"], SpfVerdict::PermError),
            (&["v=spf1 ip4:x -all"], SpfVerdict::PermError),
            (&["v=spf1 -all", "v=spf1 +all"], SpfVerdict::PermError),
            (&["v=spf10 +all"], SpfVerdict::None),
            (&[], SpfVerdict::None),
        ] {
            let fake = FakeDns::start().await;
            fake.set("a.test", "TXT", records);
            fake.set("b.test", "TXT", &["v=spf1 ip4:192.0.2.0/24 -all"]);
            fake.fail("broken.test", Trouble::ServFail);
            assert_eq!(
                checked(&fake, "u@a.test", "192.0.2.7").await,
                result,
                "{records:?}"
            );
        }
    }

    #[tokio::test]
    async fn without_a_sender_the_name_in_ehlo_counts() {
        let fake = FakeDns::start().await;
        fake.set("mx.a.test", "TXT", &["v=spf1 ip4:192.0.2.7 -all"]);
        assert_eq!(checked(&fake, "", "192.0.2.7").await, SpfVerdict::Pass);
        assert_eq!(checked(&fake, "", "192.0.2.8").await, SpfVerdict::Fail);
    }

    #[tokio::test]
    async fn a_failed_lookup_or_an_unknown_client_fails_no_mail() {
        let fake = FakeDns::start().await;
        fake.fail("a.test", Trouble::ServFail);
        assert_eq!(
            checked(&fake, "u@a.test", "192.0.2.7").await,
            SpfVerdict::TempError
        );
        fake.set("a.test", "TXT", &["v=spf1 -all"]);
        assert_eq!(
            checked(&fake, "u@a.test", "nobody knows").await,
            SpfVerdict::None
        );
        assert_eq!(
            checked(&fake, "u@[192.0.2.7]", "192.0.2.7").await,
            SpfVerdict::None
        );
    }

    #[tokio::test]
    async fn a_record_costs_no_more_lookups_than_the_rfc_allows() {
        let fake = FakeDns::start().await;
        for n in 0..100 {
            let record = format!("v=spf1 include:s{}.test -all", n + 1);
            fake.set(&format!("s{n}.test"), "TXT", &[&record]);
        }
        assert_eq!(
            checked(&fake, "u@s0.test", "192.0.2.7").await,
            SpfVerdict::PermError
        );
        assert!(fake.asked().len() <= 11, "{:?}", fake.asked());
    }
}
