//! The log events of this crate.

use tracing::{info, warn};

/// The results for a message from an external client.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) id: &'a str,
    pub(crate) client: &'a str,
    /// The domain of the From field whose result decided, or `-`.
    pub(crate) from: &'a str,
    pub(crate) spf: &'a str,
    /// The result of the best signature.
    pub(crate) dkim: &'a str,
    pub(crate) dmarc: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) disposition: &'a str,
}

/// A message from an external client has been checked.
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

/// A block list gives no usable answer, so no client counts as listed by it.
pub(crate) fn list_trouble(list: &str, reason: &str) {
    warn!(target: "relayd", event = "dnsbl", list, reason,
        "dnsbl: {list} is ignored for now: {reason}");
}
