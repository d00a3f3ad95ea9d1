//! Checks whether replies and bounces can be delivered to the domain.

use relay_remote::IpFamily;
use relay_remote::dns::{Dns, LookupError, MxRecord};

use super::finding::Finding;

const MX: &str = "MX";
/// The largest number of hosts that are checked.
const MAX_HOSTS: usize = 10;

pub(super) async fn mx(dns: &Dns, domain: &str, hostname: &str) -> Finding {
    let records = dns.mx(domain).await;
    let mut hosts = Vec::new();
    match &records {
        Ok(records) => {
            for record in records
                .iter()
                .filter(|r| !r.host.is_empty())
                .take(MAX_HOSTS)
            {
                let found = dns.addresses(&record.host, IpFamily::Any).await;
                hosts.push((record.host.clone(), found.map(|_| ())));
            }
        }
        Err(LookupError::NoRecords) => {
            let found = dns.addresses(domain, IpFamily::Any).await;
            hosts.push((domain.to_owned(), found.map(|_| ())));
        }
        Err(_) => {}
    }
    judge(domain, hostname, records, &hosts)
}

fn judge(
    domain: &str,
    hostname: &str,
    records: Result<Vec<MxRecord>, LookupError>,
    hosts: &[(String, Result<(), LookupError>)],
) -> Finding {
    let record = format!("{domain}. IN MX 10 {hostname}.");
    let fail = |text: String| Finding::fail(MX, text);
    let is_implicit = match records {
        Ok(_) if hosts.is_empty() => {
            let text = format!(
                "{domain} declares that it accepts no mail (null MX), so receivers refuse its mail too"
            );
            return fail(text).with(record);
        }
        Ok(_) => false,
        Err(LookupError::NoRecords) => true,
        Err(LookupError::NoSuchName) => {
            return fail(format!("{domain} does not exist")).with(record);
        }
        Err(reason) => return fail(format!("{domain}: cannot be looked up: {reason}")),
    };
    let lost: Vec<_> = hosts
        .iter()
        .filter_map(|(host, found)| Some(format!("{host}: {}", found.as_ref().err()?)))
        .collect();
    if lost.len() == hosts.len() {
        let text = format!("replies cannot reach {domain}: {}", lost.join("; "));
        return fail(text).with(record);
    }
    if is_implicit {
        let text = format!("{domain} has no MX record; its mail is delivered to its own address");
        return Finding::warn(MX, text).with(record);
    }
    if !lost.is_empty() {
        return Finding::warn(
            MX,
            format!("not all hosts have an address: {}", lost.join("; ")),
        );
    }
    let names: Vec<_> = hosts.iter().map(|(host, _)| host.as_str()).collect();
    Finding::ok(MX, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_domain_that_replies_cannot_reach_fails() {
        let found = || {
            Ok(vec![MxRecord {
                preference: 10,
                host: "mx.test".to_owned(),
                ttl: 0,
            }])
        };
        let unavailable = LookupError::Unavailable("SERVFAIL".to_owned());
        for (records, hosts, level) in [
            (found(), vec![Ok(())], Level::Ok),
            (
                found(),
                vec![Ok(()), Err(LookupError::NoSuchName)],
                Level::Warn,
            ),
            (found(), vec![Err(LookupError::NoSuchName)], Level::Fail),
            (found(), vec![], Level::Fail),
            (Err(LookupError::NoRecords), vec![Ok(())], Level::Warn),
            (
                Err(LookupError::NoRecords),
                vec![Err(LookupError::NoRecords)],
                Level::Fail,
            ),
            (Err(LookupError::NoSuchName), vec![], Level::Fail),
            (Err(unavailable), vec![], Level::Fail),
        ] {
            let hosts: Vec<_> = hosts
                .into_iter()
                .map(|h| ("mx.test".to_owned(), h))
                .collect();
            let finding = judge("a.test", "relay.test", records, &hosts);
            assert_eq!(finding.level, level, "{finding:?}");
        }
    }
}
