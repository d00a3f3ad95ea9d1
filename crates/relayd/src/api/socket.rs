//! The control socket as a file.

use std::path::{Path, PathBuf};

use relay_smtpd::{SocketError, SocketFile, bind_unix};
use tokio::net::UnixListener;

/// The control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("control.socket {}: {source}", path.display())]
pub struct ControlError {
    path: PathBuf,
    source: SocketError,
}

/// Opens the socket, for its owner only.
///
/// The directory is anybody's to enter, for the socket that mail is submitted to is often beside it.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ControlError> {
    bind_unix(path, 0o600, 0o755).map_err(|source| ControlError {
        path: path.to_owned(),
        source,
    })
}
