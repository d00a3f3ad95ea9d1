//! The share of the internet that a list of networks covers.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::values::Text;

/// A list that covers this share of the IPv4 or of the IPv6 addresses counts as the whole internet. The global
/// IPv6 addresses are no larger share than this (`2000::/3`, RFC 3587 §3), and no operator has an eighth of
/// IPv4.
const INTERNET: f64 = 0.125;

/// Returns the index of the first network with which the list covers the internet.
pub(crate) fn internet(networks: &[Text<IpNet>]) -> Option<usize> {
    if !is_internet(networks) {
        return None;
    }
    let counts: Vec<usize> = (1..networks.len()).collect();
    Some(counts.partition_point(|&count| !is_internet(&networks[..count])))
}

fn is_internet(networks: &[Text<IpNet>]) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for network in networks {
        match network.0 {
            IpNet::V4(network) => v4.push(network),
            IpNet::V6(network) => v6.push(network),
        }
    }
    // An address in two networks must not count twice.
    let (v4, v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
    share(v4.iter().map(Ipv4Net::prefix_len)) >= INTERNET
        || share(v6.iter().map(Ipv6Net::prefix_len)) >= INTERNET
}

/// Returns the share of all addresses that networks with these prefix lengths cover.
fn share(lengths: impl Iterator<Item = u8>) -> f64 {
    lengths.map(|length| 0.5_f64.powi(length.into())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Written;

    #[test]
    fn networks_that_cover_the_internet_together_are_reported_at_the_last_one() {
        for (networks, expected) in [
            ("", None),
            ("0.0.0.0/0", Some(0)),
            ("10.0.0.0/8 ::/0", Some(1)),
            ("::ffff:0:0/96", Some(0)),
            ("::ffff:0.0.0.0/97 ::ffff:128.0.0.0/97", Some(0)),
            ("::1/128 0.0.0.0/1 128.0.0.0/1", Some(1)),
            ("2000::/3", Some(0)),
            ("2000::/4 3000::/4 10.0.0.0/8", Some(1)),
            ("0.0.0.0/4 16.0.0.0/4 32.0.0.0/4", Some(1)),
            ("0.0.0.0/4 0.0.0.0/4 0.0.0.0/5 ::/4", None),
            ("127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", None),
            ("100.64.0.0/10 ::ffff:10.0.0.0/104 fc00::/7 fe80::/10", None),
        ] {
            let list: Result<Vec<IpNet>, _> = networks
                .split(' ')
                .filter(|n| !n.is_empty())
                .map(IpNet::read)
                .collect();
            let list: Vec<_> = list.expect(networks).into_iter().map(Text).collect();
            assert_eq!(internet(&list), expected, "{networks}");
        }
    }
}
