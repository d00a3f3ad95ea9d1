//! Who we are for a smarthost, and where the proof of it comes from.

use std::path::PathBuf;
use std::time::Duration;

use relay_smtp::sasl::UserName;

use crate::route::error::RouteError;

/// A user of a smarthost. What proves it is fetched when a connection needs it, never kept here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteCredentials {
    username: UserName,
    source: SecretSource,
}

/// Where a password or a token is to be had. The first line counts, without its line end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A file with a password, read for every new connection.
    PasswordFile(PathBuf),
    /// A program, run without a shell, that prints a password; kept until it is refused.
    PasswordCommand(Vec<String>),
    /// A program, run without a shell, that prints an access token (RFC 6750); kept until it is
    /// refused or its lifetime ends.
    TokenCommand {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long a token is good for, if that is known.
        lifetime: Option<Duration>,
    },
}

impl RouteCredentials {
    /// `username` with what `source` gives.
    pub fn new(username: &str, source: SecretSource) -> Result<Self, RouteError> {
        let username = username.parse().map_err(RouteError::Username)?;
        match &source {
            SecretSource::PasswordCommand(argv) | SecretSource::TokenCommand { argv, .. }
                if argv.first().is_none_or(String::is_empty) =>
            {
                Err(RouteError::NoProgram)
            }
            _ => Ok(Self { username, source }),
        }
    }

    /// The name to log in with.
    pub fn username(&self) -> &UserName {
        &self.username
    }

    /// Where its proof comes from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }
}

impl SecretSource {
    /// `password` or `token`: never one in place of the other.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PasswordFile(_) | Self::PasswordCommand(_) => "password",
            Self::TokenCommand { .. } => "token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_a_command_has_a_program() {
        let file = || SecretSource::PasswordFile("p".into());
        for name in ["", "a\0b", "a\nb"] {
            let refused = RouteCredentials::new(name, file());
            assert!(matches!(refused, Err(RouteError::Username(_))), "{name:?}");
        }
        for argv in [vec![], vec![String::new()]] {
            let lifetime = None;
            let sources = [
                SecretSource::PasswordCommand(argv.clone()),
                SecretSource::TokenCommand { argv, lifetime },
            ];
            for source in sources {
                let refused = RouteCredentials::new("u", source);
                assert_eq!(refused, Err(RouteError::NoProgram));
            }
        }
        assert!(RouteCredentials::new("u@host", file()).is_ok());
    }
}
