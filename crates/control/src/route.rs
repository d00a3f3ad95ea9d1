//! Where mail would go.

use serde::{Deserialize, Serialize};

/// The decision for one sender and one recipient, and the hosts that would be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What decides: `[[route]] domain = "*"`, or `MX of example.org`.
    pub by: String,
    /// What the mail waits in line for.
    pub destination: String,
    /// Who we are for the hosts, and what proves it: `apikey, by a password`.
    pub login: Option<String>,
    /// The hosts in the order they would be tried; those of equal preference are shuffled each time.
    pub hosts: Vec<PlannedHost>,
    /// Why there are no hosts.
    pub problem: Option<String>,
}

/// One host of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHost {
    /// Its name, or its address.
    pub name: String,
    /// The port.
    pub port: u16,
    /// The preference of its MX record.
    pub preference: Option<u16>,
    /// `require`, `opportunistic`, `implicit` or `none`.
    pub tls: String,
    /// Its addresses, in an order in which they would be tried.
    pub addresses: Vec<String>,
    /// Why it would be passed over.
    pub problem: Option<String>,
}
