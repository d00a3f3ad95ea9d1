//! `[[route]]`

use std::path::Path;

use relay_config::schema::{self, File};
use relay_config::{ConfigError, KeyStep, NamedFile, Source, key};
use relay_remote::{Route, RouteCredentials, RouteError, RouteTls, SecretSource};

/// Why a `[[route]]` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteProblem {
    /// The position of the route in the file, from 0.
    index: usize,
    /// The key to change.
    key: &'static str,
    /// What is wrong with it.
    reason: RouteKeyError,
}

/// What is wrong with a key of a `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteKeyError {
    /// The route is for no sender and no domain.
    #[error("is missing")]
    NoDomain,
    /// A lifetime is given, but no command that gets a token.
    #[error("needs a token_command")]
    NoTokenCommand,
    /// A user name is given, but no password and no token.
    #[error("needs password_file, password_command or token_command")]
    NoSecret,
    /// A password or a token is given, but no user name.
    #[error("needs a username")]
    NoUsername,
    /// Two keys set a password or a token.
    #[error("cannot be combined with {0}: remove one")]
    TwoSecrets(&'static str),
    /// The value is not valid.
    #[error(transparent)]
    Value(#[from] RouteError),
}

impl RouteProblem {
    /// Returns the problem as an error with the line of the key.
    pub fn at_its_line(&self, source: &Source<'_>) -> ConfigError {
        match self.reason {
            RouteKeyError::NoDomain => {
                let table = [key("route"), KeyStep::Index(self.index)];
                source.error_in(&table, "needs the key \"domain\"")
            }
            _ => source.error_at(&place(self.index, self.key), &self.reason),
        }
    }
}

/// Returns the routes to smarthosts, in the order of the file.
pub fn routes(file: &File) -> Result<Vec<Route>, RouteProblem> {
    let routes = file.route.iter().enumerate();
    routes
        .map(|(index, schema)| {
            route(schema).map_err(|(key, reason)| RouteProblem { index, key, reason })
        })
        .collect()
}

/// Returns the files with passwords, with the lines that name them.
pub fn password_files(file: &File, source: &Source<'_>) -> Vec<NamedFile> {
    let routes = file.route.iter().enumerate();
    routes
        .filter_map(|(index, route)| {
            let file: &Path = route.password_file.as_deref()?;
            Some(source.named(&place(index, "password_file"), file))
        })
        .collect()
}

fn place(index: usize, name: &str) -> [KeyStep; 3] {
    [key("route"), KeyStep::Index(index), key(name)]
}

/// A key, and what is wrong with it.
type KeyProblem = (&'static str, RouteKeyError);

fn route(route: &schema::Route) -> Result<Route, KeyProblem> {
    // A route for some senders applies to all their mail unless it also names a domain.
    let domain = match (&route.domain, &route.sender) {
        (Some(domain), _) => domain,
        (None, Some(_)) => "*",
        (None, None) => return Err(("domain", RouteKeyError::NoDomain)),
    };
    let credentials = credentials(route)?;
    let mut built = Route::new(domain, &route.host, route.port.0).map_err(of_value)?;
    if let Some(sender) = &route.sender {
        let pattern = sender.parse();
        let pattern = pattern.map_err(|_| of_value(RouteError::Sender(sender.clone())))?;
        built = built.with_sender(pattern);
    }
    built
        .with_tls(tls(route.tls), credentials)
        .map_err(of_value)
}

/// Adds the key that has the invalid value.
fn of_value(reason: RouteError) -> KeyProblem {
    let key = match reason {
        RouteError::Domain(_) => "domain",
        RouteError::Sender(_) => "sender",
        RouteError::Host(_) | RouteError::NoHost => "host",
        RouteError::CredentialsInClear => "tls",
        RouteError::Username(_) | RouteError::NoProgram => "username",
    };
    (key, reason.into())
}

fn credentials(route: &schema::Route) -> Result<Option<RouteCredentials>, KeyProblem> {
    if route.token_lifetime.is_some() && route.token_command.is_none() {
        return Err(("token_lifetime", RouteKeyError::NoTokenCommand));
    }
    let sources = sources(route);
    let (key, source) = match (sources.as_slice(), &route.username) {
        ([], None) => return Ok(None),
        ([], Some(_)) => return Err(("username", RouteKeyError::NoSecret)),
        ([(key, _)], None) => return Err((key, RouteKeyError::NoUsername)),
        ([only], Some(_)) => only,
        ([(first, _), (second, _), ..], _) => {
            return Err((second, RouteKeyError::TwoSecrets(first)));
        }
    };
    let username = route.username.as_deref().unwrap_or_default();
    match RouteCredentials::new(username, source.clone()) {
        Ok(credentials) => Ok(Some(credentials)),
        Err(reason @ RouteError::Username(_)) => Err(("username", reason.into())),
        Err(reason) => Err((key, reason.into())),
    }
}

fn tls(tls: schema::RouteTls) -> RouteTls {
    match tls {
        schema::RouteTls::Require => RouteTls::Require,
        schema::RouteTls::Opportunistic => RouteTls::Opportunistic,
        schema::RouteTls::Implicit => RouteTls::Implicit,
        schema::RouteTls::None => RouteTls::None,
    }
}

/// Returns all keys that set a password or a token. Only one of them is allowed.
fn sources(route: &schema::Route) -> Vec<(&'static str, SecretSource)> {
    let file = route.password_file.clone().map(SecretSource::PasswordFile);
    let command = route.password_command.clone();
    let token = route.token_command.clone().map(|argv| {
        let lifetime = route.token_lifetime.as_ref().map(|lifetime| lifetime.0);
        SecretSource::TokenCommand { argv, lifetime }
    });
    let sources = [
        ("password_file", file),
        (
            "password_command",
            command.map(SecretSource::PasswordCommand),
        ),
        ("token_command", token),
    ];
    let given = sources.into_iter();
    given
        .filter_map(|(name, source)| Some((name, source?)))
        .collect()
}
