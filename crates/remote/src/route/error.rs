//! Why a route of the configuration cannot be used.

use relay_smtp::sasl::UserNameError;

/// Why a route cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The domain is no domain, `.suffix` or `*`.
    #[error("bad domain {0:?}: write \"example.org\", \".example.org\" or \"*\"")]
    Domain(String),
    /// The sender is no address, `*@domain` or `<>`.
    #[error("bad sender {0:?}: write \"user@example.org\", \"*@example.org\" or \"<>\"")]
    Sender(String),
    /// A host is no name and no address.
    #[error("bad host {0:?}: write a name, an address or [address]")]
    Host(String),
    /// No host at all.
    #[error("a route needs a host")]
    NoHost,
    /// Credentials would go out in clear text to another machine.
    #[error(
        "credentials need tls = \"require\" or \"implicit\": only a loopback address gets them in clear"
    )]
    CredentialsInClear,
    /// A command without a program.
    #[error("a command needs a program: [\"/path/to/program\", \"argument\"]")]
    NoProgram,
    /// No name to log in with.
    #[error(transparent)]
    Username(UserNameError),
}
