//! The users file for the server. Logins always use its current content.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use relay_smtpd::{PasswordHashError, User};
use relay_users as users;

use crate::events;
use crate::watch::Stamps;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersFileError {
    /// The file cannot be read, or a line is not a valid user.
    #[error(transparent)]
    File(#[from] users::UsersError),
    /// The relay does not support this kind of hash.
    #[error("{}: user {name:?}: {reason}", file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// The user with this hash.
        name: String,
        /// What is wrong with the hash.
        reason: PasswordHashError,
    },
}

/// The users who may log in. Every login checks whether the file has changed, which costs one
/// system call, and reads it again if so.
#[derive(Debug)]
pub(crate) struct UsersFile {
    current: RwLock<Loaded>,
    /// Held while a changed file is read. Meanwhile other logins use the previous users.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct Loaded {
    file: PathBuf,
    stamp: Stamps,
    users: HashMap<String, User>,
}

impl UsersFile {
    /// Reads the file.
    pub(crate) fn load(file: &Path) -> Result<Self, UsersFileError> {
        Ok(Self {
            current: RwLock::new(Loaded::load(file)?),
            reading: Mutex::default(),
        })
    }

    /// Replaces the users by those of this file, which may be the same one. After an error the
    /// previous users remain.
    pub(crate) fn reload(&self, file: &Path) -> Result<(), UsersFileError> {
        let loaded = Loaded::load(file);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(loaded) => *current = loaded,
            Err(reason) => {
                // The same error is not reported again before the file changes.
                if current.file == file {
                    current.stamp = Stamps::of([file]);
                }
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Reads the file again if it has changed. If it is invalid, the previous users remain, and the
    /// error is logged once.
    pub(crate) fn refresh(&self) {
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(reading)) => reading.into_inner(),
        };
        let file = {
            let current = self.loaded();
            if Stamps::of([current.file.as_path()]) == current.stamp {
                return;
            }
            current.file.clone()
        };
        match self.reload(&file) {
            Ok(()) => events::users(&file, self.len()),
            Err(reason) => events::bad_users(&reason),
        }
    }

    /// Returns the number of users.
    pub(crate) fn len(&self) -> usize {
        self.loaded().users.len()
    }

    fn loaded(&self) -> RwLockReadGuard<'_, Loaded> {
        // The users are replaced as a whole, so they are consistent even after a panic.
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl relay_smtpd::Users for UsersFile {
    fn find(&self, name: &str) -> Option<User> {
        self.refresh();
        self.loaded().users.get(name).cloned()
    }
}

impl Loaded {
    fn load(file: &Path) -> Result<Self, UsersFileError> {
        // The stamp is taken first. A change during the reading is then noticed at the next check.
        let stamp = Stamps::of([file]);
        let read = users::Users::load(file)?;
        let users = read.iter().map(|(name, user)| {
            let name = name.as_str().to_owned();
            match as_served(user) {
                Ok(user) => Ok((name, user)),
                Err(reason) => Err(UsersFileError::Password {
                    file: file.to_owned(),
                    name,
                    reason,
                }),
            }
        });
        Ok(Self {
            users: users.collect::<Result<_, _>>()?,
            file: file.to_owned(),
            stamp,
        })
    }
}

fn as_served(user: &users::User) -> Result<User, PasswordHashError> {
    Ok(User {
        password: user.password.parse()?,
        scram: user.scram.clone(),
        senders: user.senders.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use relay_smtpd::Users as _;
    use relay_users::{Editing, Secret};

    use super::*;

    fn add(file: &Path, name: &str, senders: &[&str]) {
        let password = Secret::new("s3cret").expect("plain text");
        let senders = senders.iter().map(|s| s.parse().expect(s)).collect();
        let user = users::User::with_password(&password, senders).expect("random numbers");
        let mut editing = Editing::open(file).expect("a directory");
        editing
            .users
            .set(name.parse().expect(name), user)
            .expect("a name");
        editing.save(None).expect("a disk");
    }

    #[test]
    fn a_change_of_the_file_applies_at_the_next_login() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        let users = UsersFile::load(&file).expect("none yet");
        assert_eq!(users.find("app"), None);
        add(&file, "app", &["*@example.org", "me@example.net"]);
        let app = users.find("app").expect("a user");
        assert!(users.find("App").is_none());
        let is_bound_to = |sender: &str| {
            let sender = sender.parse().expect(sender);
            app.senders.iter().any(|s| s.matches(&sender))
        };
        assert!(is_bound_to("any@example.org") && is_bound_to("me@example.net"));
        assert!(!is_bound_to("any@sub.example.org") && !is_bound_to("other@example.net"));
        fs::remove_file(&file).expect("a file");
        assert_eq!(users.find("app"), None);
    }

    #[test]
    fn an_invalid_file_does_not_change_the_users() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        add(&file, "app", &[]);
        let users = UsersFile::load(&file).expect("a file");
        let good = fs::read_to_string(&file).expect("text");
        fs::write(&file, &good[..good.len() - 9]).expect("a file");
        assert!(users.find("app").is_some());
        users.reload(&file).expect_err("half a line");
        fs::write(&file, good).expect("a file");
        add(&file, "other", &[]);
        assert!(users.find("other").is_some() && users.len() == 2);
    }

    #[test]
    fn an_unsupported_hash_is_reported_with_its_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        add(&file, "app", &[]);
        let costly = fs::read_to_string(&file)
            .expect("text")
            .replace("m=19456", "m=1945600");
        fs::write(&file, costly).expect("a file");
        let error = UsersFile::load(&file)
            .expect_err("a gigabyte and more")
            .to_string();
        assert!(
            error.contains("user \"app\": the password hash takes too much"),
            "{error}"
        );
    }
}
