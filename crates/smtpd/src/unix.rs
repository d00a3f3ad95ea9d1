//! Listening Unix sockets and their names in the file system.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A Unix socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A file with this name exists and is not a socket.
    #[error("a file with this name exists and is not a socket: choose another path")]
    Taken,
    /// Another process listens on the socket.
    #[error("in use by another relayd: stop it, or choose another path")]
    InUse,
    /// No process listens on the socket, but its file cannot be removed.
    #[error("a stale socket cannot be removed: {0}")]
    LeftOver(io::Error),
    /// Its directory is missing and cannot be created.
    #[error("its directory cannot be created: {0}")]
    Directory(io::Error),
    /// The system refuses to open it.
    #[error("cannot be opened: {0}; choose another path")]
    Open(io::Error),
    /// Its permissions cannot be set.
    #[error("its permissions cannot be set: {0}")]
    Mode(io::Error),
}

/// The file of one of our sockets. Dropping this removes the file.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If the file cannot be removed now, the next start replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens a socket with these permissions. If no process listens on an existing socket, it was left
/// by a crash and is replaced. A missing directory is created with the mode `directory`. Must be
/// called within a runtime.
pub fn bind_unix(
    path: &Path,
    mode: u32,
    directory: u32,
) -> Result<(UnixListener, SocketFile), SocketError> {
    replace_left_over(path)?;
    make_parent(path, directory).map_err(SocketError::Directory)?;
    let listener = UnixListener::bind(path).map_err(SocketError::Open)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(SocketError::Mode)?;
    Ok((listener, file))
}

fn replace_left_over(path: &Path) -> Result<(), SocketError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::Taken);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(SocketError::LeftOver)
        }
        // If this process may not connect to the socket, it cannot know that no process listens.
        _ => Err(SocketError::InUse),
    }
}

fn make_parent(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .skip(1)
        .take_while(|directory| !directory.as_os_str().is_empty() && !directory.exists())
        .collect();
    for directory in missing.into_iter().rev() {
        // The mode is set explicitly, because the umask may have removed bits.
        DirBuilder::new().mode(mode).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        let found = fs::metadata(path).expect("it is there");
        found.permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_but_a_live_one_or_a_file_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below/a.sock");
        let (listener, file) = bind_unix(&path, 0o600, 0o750).expect("a free name");
        assert_eq!(mode(&path), 0o600);
        let taken = bind_unix(&path, 0o600, 0o750).expect_err("it is taken");
        assert!(matches!(taken, SocketError::InUse), "{taken}");
        drop((listener, file));
        assert!(!path.exists());

        drop(StdListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "a stale socket");
        bind_unix(&path, 0o666, 0o750).expect("no process listens on it");

        fs::write(&path, "precious").expect("a file");
        let taken = bind_unix(&path, 0o600, 0o750).expect_err("no socket");
        assert!(matches!(taken, SocketError::Taken), "{taken}");
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
    }

    #[tokio::test]
    async fn the_permissions_do_not_depend_on_the_umask() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/newer/a.sock");
        let _open = bind_unix(&path, 0o666, 0o777).expect("a free name");
        assert_eq!(mode(&path), 0o666);
        assert_eq!(mode(&dir.path().join("new/newer")), 0o777);
        assert_eq!(mode(&dir.path().join("new")), 0o777);
    }
}
