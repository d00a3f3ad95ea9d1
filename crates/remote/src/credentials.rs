//! The user name for a smarthost, and where its password or token comes from.

use std::path::PathBuf;
use std::time::Duration;

use relay_smtp::sasl::UserName;

use crate::route::error::RouteError;

/// A user name and the source of its secret. The secret is read when a connection needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteCredentials {
    username: UserName,
    source: SecretSource,
}

/// Where a password or token comes from. Only the first line counts, without its line end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A file with a password. It is read for every new connection.
    PasswordFile(PathBuf),
    /// A program that prints a password. It runs without a shell. The password is cached until it
    /// is rejected.
    PasswordCommand(Vec<String>),
    /// A program that prints an access token (RFC 6750). It runs without a shell. The token is
    /// cached until it is rejected or its lifetime ends.
    TokenCommand {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long a token is valid, if known.
        lifetime: Option<Duration>,
    },
}

impl RouteCredentials {
    /// Checks the user name, and that a command names a program.
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

    /// Where the secret comes from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }
}

impl SecretSource {
    /// `password` or `token`.
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
