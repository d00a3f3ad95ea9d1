//! The control socket as a file.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("control.socket {}: {reason}", path.display())]
pub struct ControlError {
    path: PathBuf,
    reason: String,
}

/// The name of our socket, which goes when we do.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that stays behind is replaced at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens the socket, for its owner only. One that nobody answers on is left over from a crash and
/// is replaced.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ControlError> {
    let error = |reason: String| ControlError {
        path: path.to_owned(),
        reason,
    };
    replace_stale(path).map_err(&error)?;
    make_parent(path).map_err(|e| error(format!("its directory cannot be made: {e}")))?;
    let listener = UnixListener::bind(path)
        .map_err(|e| error(format!("cannot be opened: {e}; choose another path")))?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|e| error(format!("cannot be made private: {e}")))?;
    Ok((listener, file))
}

fn replace_stale(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err("there is something else of that name: choose another path".to_owned());
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|e| format!("left over, but cannot be replaced: {e}"))
        }
        // Whoever may not even connect may not take it for left over.
        _ => Err("in use by another relayd: stop that one, or choose another path".to_owned()),
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => {
            DirBuilder::new().recursive(true).mode(0o750).create(parent)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below/control.sock");
        let (listener, file) = bind(&path).expect("a free name");
        let mode = fs::metadata(&path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let reason = bind(&path).expect_err("it is taken").to_string();
        assert!(
            reason.contains("in use") && reason.contains("control.sock"),
            "{reason}"
        );
        drop((listener, file));
        assert!(!path.exists());

        drop(StdListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "left over");
        bind(&path).expect("nobody answers on it");

        fs::write(&path, "precious").expect("a file");
        bind(&path).expect_err("no socket");
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
    }
}
