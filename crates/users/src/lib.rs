//! The users file: who may log in, and as which senders.
//!
//! Each line is one user, with a tab between the fields: the name; the password's argon2id hash as a PHC
//! string, for PLAIN and LOGIN; the verifier for SCRAM-SHA-256 as in RFC 5803; then the senders that the
//! user is restricted to, one field each. Without any, the user may use every sender. `#` begins a comment.
//!
//! `relayctl user` writes the file, whether the daemon runs or not; the daemon only reads it.

mod password;
mod record;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use relay_smtp::sasl::{Secret, SecretError, UserName};

pub use self::password::HashError;
pub use self::record::{RecordError, User};
use relay_atomic_file::{Owner, directory_of, replace, resolve};

/// The largest file that is read, in octets. It has room for over a hundred thousand users.
const LONGEST_FILE: u64 = 64 << 20;

const HEADER: &str = "\
# Written by relayctl user; other comments are not kept. A line is: name, argon2id hash,
# SCRAM verifier, and the senders that the user is bound to, with a tab between them.
";

/// Why the file cannot be used. No error contains any part of its content.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read or written.
    #[error("{}: {doing}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A line is not a valid user.
    #[error("{}:{line}: {reason}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line number, counted from 1.
        line: usize,
        /// What is wrong with the line.
        reason: RecordError,
    },
}

/// All users of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<UserName, User>);

impl Users {
    /// Reads a file. A file that does not exist has no users.
    pub fn load(file: &Path) -> Result<Self, UsersError> {
        let error = |source| UsersError::Io {
            file: file.to_owned(),
            doing: "reading it",
            source,
        };
        match fs::metadata(file) {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(reason) => return Err(error(reason)),
            Ok(found) if found.len() > LONGEST_FILE => {
                return Err(error(io::ErrorKind::FileTooLarge.into()));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(file).map_err(error)?;
        Self::parse(file, &text)
    }

    /// Parses the text of a file. `file` is the name of the file in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, UsersError> {
        let mut users = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            users.take_line(line).map_err(|reason| UsersError::Line {
                file: file.to_owned(),
                line: index + 1,
                reason,
            })?;
        }
        Ok(users)
    }

    fn take_line(&mut self, line: &str) -> Result<(), RecordError> {
        let (name, user) = record::parse(line)?;
        match self.0.insert(name, user) {
            None => Ok(()),
            Some(_) => Err(RecordError::Twice),
        }
    }

    /// Returns the text of the file, with the users sorted by name.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (name, user) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}\t{user}");
        }
        text
    }

    /// Returns the user with this name. Case matters.
    pub fn find(&self, name: &UserName) -> Option<&User> {
        self.0.get(name)
    }

    /// Adds a user, or replaces the user who has this name.
    pub fn set(&mut self, name: UserName, user: User) -> Result<(), RecordError> {
        record::check_name(&name)?;
        self.0.insert(name, user);
        Ok(())
    }

    /// Removes a user and returns it.
    pub fn remove(&mut self, name: &UserName) -> Option<User> {
        self.0.remove(name)
    }

    /// Returns all users, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&UserName, &User)> {
        self.0.iter()
    }

    /// Returns whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The file, locked against other writers until it is saved or dropped.
#[derive(Debug)]
pub struct Editing {
    /// The users that will be saved.
    pub users: Users,
    file: PathBuf,
    /// A lock on the directory. The file itself cannot be locked, because every change replaces it.
    _lock: File,
}

impl Editing {
    /// Waits for other writers, then reads the file.
    pub fn open(file: &Path) -> Result<Self, UsersError> {
        let error = |source| UsersError::Io {
            file: file.to_owned(),
            doing: "locking its directory",
            source,
        };
        let file = resolve(file).map_err(error)?;
        let lock = File::open(directory_of(&file)).map_err(error)?;
        lock.lock().map_err(error)?;
        Ok(Self {
            users: Users::load(&file)?,
            file,
            _lock: lock,
        })
    }

    /// Replaces the file such that it survives power loss, with mode 0600. It keeps its owner. A
    /// new file gets `owner`.
    pub fn save(self, owner: Option<Owner>) -> Result<(), UsersError> {
        let found = fs::metadata(&self.file).ok().map(|found| Owner {
            user: found.uid(),
            group: found.gid(),
        });
        let text = self.users.to_text();
        replace(&self.file, text.as_bytes(), found.or(owner)).map_err(|source| UsersError::Io {
            file: self.file.clone(),
            doing: "writing it",
            source,
        })
    }
}

#[cfg(test)]
mod tests;
