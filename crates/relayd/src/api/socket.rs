//! Opens the control socket.

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

/// Opens the socket with access for its owner only.
///
/// Everybody may enter the directory, because the submission socket is often in the same one.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ControlError> {
    bind_unix(path, 0o600, 0o755).map_err(|source| ControlError {
        path: path.to_owned(),
        source,
    })
}
