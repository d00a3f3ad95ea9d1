//! Checks the domain's MTA-STS policy (RFC 8461) and its address for TLS reports (RFC 8460). Both
//! concern incoming mail. The domain's own mail is delivered without them.

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::mta_sts::{MtaSts, TlsRpt};
use relay_remote::dns::{Dns, LookupError};

use super::finding::Finding;

const MTA_STS: &str = "MTA-STS";
const TLS_RPT: &str = "TLS-RPT";

pub(super) async fn mta_sts(dns: &Dns, domain: &str) -> Finding {
    let found = dns.txt(&format!("_mta-sts.{domain}")).await;
    judge(MTA_STS, "v=STSv1", found, |text| {
        MtaSts::parse(text).is_ok()
    })
}

pub(super) async fn tls_rpt(dns: &Dns, domain: &str) -> Finding {
    let found = dns.txt(&format!("_smtp._tls.{domain}")).await;
    judge(TLS_RPT, "v=TLSRPTv1", found, |text| {
        TlsRpt::parse(text).is_ok()
    })
}

fn judge(
    about: &'static str,
    version: &str,
    found: Result<Vec<Vec<u8>>, LookupError>,
    is_good: impl Fn(&[u8]) -> bool,
) -> Finding {
    let texts = match found {
        Ok(texts) => texts,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Vec::new(),
        Err(reason) => return Finding::warn(about, format!("cannot be looked up: {reason}")),
    };
    let of_version = |text: &&Vec<u8>| text.starts_with(version.as_bytes());
    let records: Vec<_> = texts.iter().filter(of_version).collect();
    match records[..] {
        [] => Finding::info(about, "no record; it is optional"),
        [text] if is_good(text) => Finding::info(about, String::from_utf8_lossy(text).into_owned()),
        [text] => {
            let text = String::from_utf8_lossy(text);
            Finding::warn(about, format!("cannot be read: {text:?}"))
        }
        _ => Finding::warn(
            about,
            "several records, so receivers use none of them: keep only one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use relay_testkit::FakeDns;

    #[tokio::test]
    async fn a_missing_record_is_no_fault_and_a_broken_one_is() {
        let sts = "v=STSv1; id=20261121T000000;";
        for (texts, level) in [
            (&[][..], Level::Info),
            (&["unrelated"], Level::Info),
            (&[sts], Level::Info),
            (&["v=STSv1; oops"], Level::Warn),
            (&[sts, sts], Level::Warn),
        ] {
            let fake = FakeDns::start().await;
            fake.set("_mta-sts.a.test", "TXT", texts);
            let finding = mta_sts(&Dns::new(&[fake.address()]), "a.test").await;
            assert_eq!(finding.level, level, "{texts:?}");
        }
        let fake = FakeDns::start().await;
        let rpt = ["v=TLSRPTv1; rua=mailto:tls@a.test"];
        fake.set("_smtp._tls.a.test", "TXT", &rpt);
        let finding = tls_rpt(&Dns::new(&[fake.address()]), "a.test").await;
        assert!(finding.text.contains("tls@a.test") && finding.level == Level::Info);
    }
}
