//! What this crate says in the log.

use tracing::{info, warn};

/// What a message from a stranger was found to be worth.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) id: &'a str,
    pub(crate) client: &'a str,
    /// The domain of the From field that decided, or `-`.
    pub(crate) from: &'a str,
    pub(crate) spf: &'a str,
    /// The best of the signatures.
    pub(crate) dkim: &'a str,
    pub(crate) dmarc: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) disposition: &'a str,
}

/// A message from a stranger has been examined.
pub(crate) fn checked(results: &Results<'_>) {
    let Results {
        id,
        client,
        from,
        spf,
        dkim,
        dmarc,
        policy,
        disposition,
    } = results;
    info!(
        target: "relayd",
        event = "inbound",
        id,
        client,
        from,
        spf,
        dkim,
        dmarc,
        policy,
        result = disposition,
        "inbound msg {id} from {from} client [{client}]: spf {spf}, dkim {dkim}, dmarc {dmarc} (p={policy}): {disposition}",
    );
}

/// A block list cannot be relied on for now, so it lists nobody.
pub(crate) fn list_trouble(list: &str, reason: &str) {
    warn!(target: "relayd", event = "dnsbl", list, reason,
        "dnsbl: {list} lists nobody for now: {reason}");
}
