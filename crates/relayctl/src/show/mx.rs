//! `mx`.

use std::io::{self, Write};

use super::safe;
use crate::failure::Failure;
use crate::mx::{Exchanger, Exchangers};

/// The hosts in the order they would be tried, each with its addresses.
pub(crate) fn exchangers(out: &mut impl Write, found: &Exchangers) -> Result<(), Failure> {
    let mut hosts = found.hosts.iter();
    hosts
        .try_for_each(|h| host(out, h))
        .map_err(Failure::Output)
}

fn host(out: &mut impl Write, host: &Exchanger) -> io::Result<()> {
    let name = safe(&host.name);
    match host.preference {
        Some(preference) => write!(out, "{preference:>5}  {name}")?,
        None => write!(out, "    -  {name}  (the domain has no MX)")?,
    }
    ttl(out, host.ttl)?;
    for address in &host.addresses {
        write!(out, "         {}", address.address)?;
        ttl(out, address.ttl)?;
    }
    match &host.problem {
        Some(problem) => writeln!(out, "         passed over: {}", safe(problem)),
        None => Ok(()),
    }
}

fn ttl(out: &mut impl Write, seconds: Option<u32>) -> io::Result<()> {
    match seconds {
        Some(seconds) => writeln!(out, "  ttl {seconds}"),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mx::Address;

    #[test]
    fn a_host_stands_before_its_addresses_and_what_is_wrong_with_it() {
        let found = Exchangers {
            domain: "dest.test".to_owned(),
            hosts: vec![
                Exchanger {
                    name: "mx1.dest.test".to_owned(),
                    preference: Some(10),
                    ttl: Some(3600),
                    addresses: vec![Address {
                        address: "192.0.2.1:25".parse().expect("an address"),
                        ttl: Some(300),
                    }],
                    problem: None,
                },
                Exchanger {
                    name: "m\u{1b}".to_owned(),
                    preference: None,
                    ttl: None,
                    addresses: Vec::new(),
                    problem: Some("no address".to_owned()),
                },
            ],
            problem: None,
        };
        let mut out = Vec::new();
        exchangers(&mut out, &found).expect("memory");
        let expected = "   10  mx1.dest.test  ttl 3600
         192.0.2.1:25  ttl 300
    -  m\\u{1b}  (the domain has no MX)
         passed over: no address
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
