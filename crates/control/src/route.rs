//! The route of a message.

use serde::{Deserialize, Serialize};

/// The route for one sender and one recipient, and the hosts that would be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The rule that decides: `[[route]] domain = "*"`, or `MX of example.org`.
    pub by: String,
    /// The destination that the mail would wait for.
    pub destination: String,
    /// The login at the hosts and its method: `apikey, by a password`.
    pub login: Option<String>,
    /// The hosts in the order they would be tried; those of equal preference are shuffled each time.
    pub hosts: Vec<PlannedHost>,
    /// Why there are no hosts.
    pub problem: Option<String>,
}

/// One host of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHost {
    /// The name or the address of the host.
    pub name: String,
    /// The port.
    pub port: u16,
    /// The preference of the MX record.
    pub preference: Option<u16>,
    /// `require`, `opportunistic`, `implicit` or `none`.
    pub tls: String,
    /// The addresses, in an order in which they would be tried.
    pub addresses: Vec<String>,
    /// Why the host would be skipped.
    pub problem: Option<String>,
}
