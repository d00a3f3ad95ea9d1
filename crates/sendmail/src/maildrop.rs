//! Stores a message in the maildrop: either all of it is durable, or none of it is there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use relay_maildrop::{EnvelopeLine, FILE_MODE, PARTIAL, RECIPIENTS, WHOLE};
use relay_smtp::ForwardPath;
use rustix::fs::{statvfs, syncfs};

use crate::author::unique;
use crate::error::SendmailError;
use crate::message::OutgoingMessage;
use crate::settings::RelaySettings;

/// Stores the message for these recipients, in as many files as necessary. Once this returns, the message
/// survives power loss.
pub(crate) fn store(
    mail: &mut OutgoingMessage,
    recipients: &[ForwardPath],
    settings: &RelaySettings,
) -> io::Result<()> {
    let directory = &settings.maildrop;
    let parts = recipients.chunks(RECIPIENTS);
    let size = mail.size().saturating_mul(parts.len() as u64);
    has_room(directory, size, settings.min_free)?;
    let mut unpublished = Unpublished::default();
    for some in parts {
        unpublished.add(directory, mail, some)?;
    }
    unpublished.publish()
}

/// Checks for free space. The queue is on the same disk, and the maildrop must never fill it.
fn has_room(directory: &Path, size: u64, min_free: u64) -> io::Result<()> {
    let found = statvfs(directory)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < min_free.saturating_add(size) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Complete files without their final names. Files that are not published are removed.
#[derive(Default)]
struct Unpublished {
    files: Vec<(File, PathBuf, PathBuf)>,
}

impl Unpublished {
    fn add(
        &mut self,
        directory: &Path,
        mail: &mut OutgoingMessage,
        recipients: &[ForwardPath],
    ) -> io::Result<()> {
        let name = unique().map_err(|error: SendmailError| io::Error::other(error.to_string()))?;
        let partial = directory.join(format!("{PARTIAL}{name}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&partial)?;
        let whole = directory.join(format!("{WHOLE}{name}"));
        self.files.push((file, partial, whole));
        let Some((file, ..)) = self.files.last_mut() else {
            return Ok(());
        };
        // The relay must be able to read the file, whatever the umask is.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        let mut envelope = EnvelopeLine::new(mail.sender.clone(), recipients.to_vec());
        envelope.eight_bit = mail.eight_bit;
        envelope.notify = mail.notify;
        envelope.dsn = mail.dsn.clone();
        file.write_all(&envelope.encode())?;
        io::copy(&mut mail.content()?, file)?;
        file.sync_all()
    }

    /// Renames the files to their final names. Once this returns, the names are durable too. A
    /// directory without read permission cannot be opened to sync it, so the whole file system is
    /// synced.
    fn publish(mut self) -> io::Result<()> {
        let mut published = Vec::new();
        for (_, partial, whole) in &self.files {
            if let Err(error) = fs::rename(partial, whole) {
                remove(&published);
                return Err(error);
            }
            published.push(whole.clone());
        }
        let synced = self.files.first().map_or(Ok(()), |(file, ..)| syncfs(file));
        if let Err(error) = synced {
            remove(&published);
            return Err(error.into());
        }
        self.files.clear();
        Ok(())
    }
}

/// Removes published files. A program that receives an error will send the message again.
fn remove(published: &[PathBuf]) {
    for file in published {
        // The relay may have taken the file already.
        let _ = fs::remove_file(file);
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        for (_, partial, _) in &self.files {
            // If a file remains, the relay removes it later.
            let _ = fs::remove_file(partial);
        }
    }
}
