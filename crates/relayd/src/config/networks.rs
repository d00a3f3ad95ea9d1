//! How much of the internet a list of networks is.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::values::Text;

/// The share of all addresses that is as good as all of them: the internet of IPv6 has no more
/// (`2000::/3`, RFC 3587 §3), and nobody's own networks are an eighth of IPv4.
const ALL_BUT_ALL: f64 = 0.125;

/// The first network that makes the internet, of those up to it.
pub(super) fn internet(networks: &[Text<IpNet>]) -> Option<usize> {
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
    // Without this, an address that is in two networks would count twice.
    let (v4, v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
    share(v4.iter().map(Ipv4Net::prefix_len)) >= ALL_BUT_ALL
        || share(v6.iter().map(Ipv6Net::prefix_len)) >= ALL_BUT_ALL
}

/// What part of all addresses is in networks with these lengths of prefix.
fn share(lengths: impl Iterator<Item = u8>) -> f64 {
    lengths.map(|length| 0.5_f64.powi(length.into())).sum()
}

#[cfg(test)]
mod tests {
    use super::super::values::Written;
    use super::*;

    #[test]
    fn networks_that_are_the_internet_together_are_told_at_the_one_that_completes_it() {
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
