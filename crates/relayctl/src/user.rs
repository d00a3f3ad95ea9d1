//! `user`: changes the users file. The daemon need not run; it notices the change itself.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::{Args, Subcommand};
use relay_atomic_file::Owner;
use relay_diagnose::LoadedConfig;
use relay_terminal::password;
use relay_users::{Editing, Secret, User, UserName, Users};
use serde::Serialize;

use relay_smtp::pattern::AddressPattern;

use crate::error::RelayctlError;
use crate::output::print_answer;

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Add a user
    Add {
        #[command(flatten)]
        login: LoginArgs,

        /// Allow only this sender, "u@a.test" or "*@a.test"; repeatable
        #[arg(long = "sender", value_name = "PATTERN")]
        senders: Vec<AddressPattern>,
    },
    /// Change the password of a user
    Passwd {
        #[command(flatten)]
        login: LoginArgs,
    },
    /// Remove a user
    Remove {
        /// The name of the user
        name: UserName,
    },
    /// List all users and the senders that they are restricted to
    List,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The name of the user; case matters
    name: UserName,

    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Runs the verb and prints its result to `out`.
pub(crate) fn run(
    verb: &UserVerb,
    config: &LoadedConfig,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let file = config.users()?;
    match verb {
        UserVerb::Add { login, senders } => add(login, senders, file, config.state_dir()?),
        UserVerb::Passwd { login } => passwd(login, file),
        UserVerb::Remove { name } => remove(name, file),
        UserVerb::List => list(&Users::load(file)?, json, out),
    }
}

fn add(
    login: &LoginArgs,
    senders: &[AddressPattern],
    file: &Path,
    state_dir: &Path,
) -> Result<(), RelayctlError> {
    let name = &login.name;
    let exists = || {
        RelayctlError::Refused(format!(
            "there is a user {name:?} already: use passwd to change the password, \
             or remove the user first",
            name = name.as_str()
        ))
    };
    // Checked before the operator is asked for a password.
    if Users::load(file)?.find(name).is_some() {
        return Err(exists());
    }
    let user = User::with_password(&read(login)?, senders.to_vec())?;
    let mut editing = Editing::open(file)?;
    if editing.users.find(name).is_some() {
        return Err(exists());
    }
    editing.users.set(name.clone(), user)?;
    Ok(editing.save(owner_of(state_dir))?)
}

fn passwd(login: &LoginArgs, file: &Path) -> Result<(), RelayctlError> {
    if Users::load(file)?.find(&login.name).is_none() {
        return Err(unknown(&login.name, file));
    }
    let fresh = User::with_password(&read(login)?, Vec::new())?;
    let mut editing = Editing::open(file)?;
    let Some(user) = editing.users.find(&login.name) else {
        return Err(unknown(&login.name, file));
    };
    let senders = user.senders.clone();
    editing
        .users
        .set(login.name.clone(), User { senders, ..fresh })?;
    Ok(editing.save(None)?)
}

fn remove(name: &UserName, file: &Path) -> Result<(), RelayctlError> {
    let mut editing = Editing::open(file)?;
    match editing.users.remove(name) {
        Some(_) => Ok(editing.save(None)?),
        None => Err(unknown(name, file)),
    }
}

fn unknown(name: &UserName, file: &Path) -> RelayctlError {
    let name = name.as_str();
    RelayctlError::Refused(format!("no user {name:?} in {}", file.display()))
}

fn read(login: &LoginArgs) -> Result<Secret, RelayctlError> {
    if login.password_stdin {
        Ok(password::from_line(&mut io::stdin().lock())?)
    } else {
        Ok(password::ask(login.name.as_str())?)
    }
}

/// Returns the owner of the state directory. This is the user of the daemon, which has to read the
/// file.
fn owner_of(state_dir: &Path) -> Option<Owner> {
    let found = fs::metadata(state_dir).ok()?;
    Some(Owner {
        user: found.uid(),
        group: found.gid(),
    })
}

/// One user of the list.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    senders: Vec<String>,
}

fn list(users: &Users, json: bool, out: &mut impl Write) -> Result<(), RelayctlError> {
    let listed = users.iter().map(|(name, user)| Listed {
        name: name.as_str(),
        senders: user.senders.iter().map(ToString::to_string).collect(),
    });
    if json {
        return print_answer(out, &listed.collect::<Vec<_>>());
    }
    for user in listed {
        let senders = match user.senders.as_slice() {
            [] => "any sender".to_owned(),
            senders => senders.join(" "),
        };
        writeln!(out, "{}  {senders}", user.name).map_err(RelayctlError::Output)?;
    }
    Ok(())
}
