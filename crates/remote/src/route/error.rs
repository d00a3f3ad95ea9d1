//! Errors in a route of the configuration.

use relay_smtp::sasl::UserNameError;

/// Why a route cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The domain is not a domain, `.suffix` or `*`.
    #[error("bad domain {0:?}: write \"example.org\", \".example.org\" or \"*\"")]
    Domain(String),
    /// The sender is not an address, `*@domain` or `<>`.
    #[error("bad sender {0:?}: write \"user@example.org\", \"*@example.org\" or \"<>\"")]
    Sender(String),
    /// A host is neither a name nor an address.
    #[error("bad host {0:?}: write a name, an address or [address]")]
    Host(String),
    /// The list of hosts is empty.
    #[error("a route needs a host")]
    NoHost,
    /// Credentials would be sent in clear text to another machine.
    #[error(
        "credentials need tls = \"require\" or \"implicit\": they are sent in clear only to a loopback address"
    )]
    CredentialsInClear,
    /// The command names no program.
    #[error("a command needs a program: [\"/path/to/program\", \"argument\"]")]
    NoProgram,
    /// The user name is not valid.
    #[error(transparent)]
    Username(UserNameError),
}
