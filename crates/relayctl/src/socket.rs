//! Where the daemon listens: as the operator says, or as the relay's configuration does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use relay_control::DEFAULT_SOCKET;

use crate::Place;
use crate::failure::Failure;

const DEFAULT_CONFIG: &str = "/etc/relayd/relayd.toml";

/// The path of the control socket. A missing configuration is an error only if it was asked for.
pub(crate) fn find(place: &Place) -> Result<PathBuf, Failure> {
    if let Some(socket) = &place.socket {
        return Ok(socket.clone());
    }
    let file = place.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    match fs::read_to_string(file) {
        Ok(text) => socket_of(&text).map_err(|reason| config(file, reason)),
        Err(reason) if place.config.is_none() && reason.kind() == io::ErrorKind::NotFound => {
            Ok(DEFAULT_SOCKET.into())
        }
        Err(reason) => Err(config(file, format!("cannot be read: {reason}"))),
    }
}

fn config(file: &Path, reason: String) -> Failure {
    Failure::Config {
        file: file.to_owned(),
        reason,
    }
}

/// `control.socket`; everything else in the file is the daemon's affair.
fn socket_of(text: &str) -> Result<PathBuf, String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().replace('\n', " "))?;
    match table
        .get("control")
        .and_then(|control| control.get("socket"))
    {
        None => Ok(DEFAULT_SOCKET.into()),
        Some(toml::Value::String(socket)) => Ok(socket.into()),
        Some(_) => Err("control.socket: not a path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_that_of_the_configuration() {
        for (text, expected) in [
            ("", Ok(DEFAULT_SOCKET)),
            ("[control]", Ok(DEFAULT_SOCKET)),
            (
                "unknown = 1\n[control]\nsocket = \"/a/b.sock\"",
                Ok("/a/b.sock"),
            ),
            ("[control]\nsocket = 1", Err("control.socket: not a path")),
        ] {
            let expected = expected.map(PathBuf::from).map_err(str::to_owned);
            assert_eq!(socket_of(text), expected, "{text}");
        }
        assert!(socket_of("[control").is_err_and(|reason| !reason.contains('\n')));
    }
}
