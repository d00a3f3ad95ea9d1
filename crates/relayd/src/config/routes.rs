//! `[[route]]`

use std::path::Path;

use relay_remote::{Route, RouteCredentials, RouteError, RouteTls, SecretSource};

use super::{ConfigError, KeyStep, Mapping, NamedFile, key, schema};

impl Mapping<'_> {
    pub(super) fn routes(&self) -> Result<Vec<Route>, ConfigError> {
        let routes = self.file.route.iter().enumerate();
        routes
            .map(|(index, route)| self.route(index, route))
            .collect()
    }

    fn route(&self, index: usize, route: &schema::Route) -> Result<Route, ConfigError> {
        let at = |name: &str, reason: &dyn std::fmt::Display| {
            self.source.error_at(&place(index, name), reason)
        };
        // A route for some senders applies to all their mail unless it also names a domain.
        let domain = match (&route.domain, &route.sender) {
            (Some(domain), _) => domain,
            (None, Some(_)) => "*",
            (None, None) => {
                let table = [key("route"), KeyStep::Index(index)];
                return Err(self.source.error_in(&table, "needs the key \"domain\""));
            }
        };
        let built = || -> Result<Route, RouteError> {
            let built = Route::new(domain, &route.host, route.port.0)?;
            match &route.sender {
                Some(sender) => {
                    let pattern = sender.parse();
                    let pattern = pattern.map_err(|_| RouteError::Sender(sender.clone()))?;
                    Ok(built.with_sender(pattern))
                }
                None => Ok(built),
            }
        };
        let credentials = self.credentials(index, route)?;
        built()
            .and_then(|built| built.with_tls(tls(route.tls), credentials))
            .map_err(|reason| at(blamed(&reason), &reason))
    }

    fn credentials(
        &self,
        index: usize,
        route: &schema::Route,
    ) -> Result<Option<RouteCredentials>, ConfigError> {
        let error = |name, reason| Err(self.source.error_at(&place(index, name), reason));
        if route.token_lifetime.is_some() && route.token_command.is_none() {
            return error("token_lifetime", "needs a token_command".to_owned());
        }
        let sources = sources(route);
        let (name, source) = match (sources.as_slice(), &route.username) {
            ([], None) => return Ok(None),
            ([], Some(_)) => {
                let reason = "needs password_file, password_command or token_command";
                return error("username", reason.to_owned());
            }
            ([(name, _)], None) => return error(name, "needs a username".to_owned()),
            ([only], Some(_)) => only,
            ([(first, _), (second, _), ..], _) => {
                return error(second, format!("cannot stand beside {first}: remove one"));
            }
        };
        let username = route.username.as_deref().unwrap_or_default();
        let credentials = RouteCredentials::new(username, source.clone());
        credentials.map(Some).map_err(|reason| {
            let at = match reason {
                RouteError::Username(_) => "username",
                _ => name,
            };
            self.source.error_at(&place(index, at), reason)
        })
    }

    /// Returns the files with passwords.
    pub(super) fn password_files(&self) -> impl Iterator<Item = NamedFile> {
        let routes = self.file.route.iter().enumerate();
        routes.filter_map(|(index, route)| {
            let file: &Path = route.password_file.as_deref()?;
            Some(self.source.named(&place(index, "password_file"), file))
        })
    }
}

fn place(index: usize, name: &str) -> [KeyStep; 3] {
    [key("route"), KeyStep::Index(index), key(name)]
}

fn blamed(reason: &RouteError) -> &'static str {
    match reason {
        RouteError::Domain(_) => "domain",
        RouteError::Sender(_) => "sender",
        RouteError::Host(_) | RouteError::NoHost => "host",
        RouteError::CredentialsInClear => "tls",
        RouteError::Username(_) | RouteError::NoProgram => "username",
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

/// Returns all keys that set a password or token. Only one of them is allowed.
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
