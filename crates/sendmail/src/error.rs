//! The errors of this command, with the exit codes of sysexits.h.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use relay_maildrop::submit::SubmitError;
use relay_smtp::{Reply, Stage};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendmailError {
    /// The command line is not valid (`EX_USAGE`).
    #[error("{0}; see sendmail --help")]
    Usage(String),
    /// An address in the message is not valid (`EX_DATAERR`).
    #[error("{0:?} is not an address: {1}")]
    Address(String, relay_smtp::address::AddressError),
    /// The header section is too long (`EX_DATAERR`).
    #[error("the header section has more than {0} bytes")]
    Header(usize),
    /// The relay refuses the message permanently.
    #[error("the relay refuses {what}: {reply}")]
    Refused {
        /// The message, or a recipient.
        what: String,
        /// The command that was refused.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// The message is larger than the relay allows (`EX_DATAERR`).
    #[error("the message is larger than the relay allows, {0} bytes")]
    TooLarge(u64),
    /// The relay did not accept the message, and it could not be stored in the maildrop
    /// (`EX_TEMPFAIL`).
    #[error("{relay}; and the message cannot be stored in {}: {reason}", directory.display())]
    Temporary {
        /// Why the relay did not accept the message.
        relay: RelayError,
        /// The maildrop.
        directory: PathBuf,
        /// Why the message could not be stored there.
        reason: io::Error,
    },
    /// There is no session with the relay (`EX_TEMPFAIL`).
    #[error(transparent)]
    NoRelay(RelayError),
    /// `relayctl` has failed (`EX_TEMPFAIL`).
    #[error("relayctl cannot retry the queue")]
    Retry,
    /// `relayctl` cannot be run (`EX_UNAVAILABLE`).
    #[error("relayctl cannot be run: {0}")]
    NoRelayctl(io::Error),
    /// A call of the operating system failed (`EX_OSERR`).
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
    /// The message cannot be read (`EX_IOERR`).
    #[error("cannot read the message: {0}")]
    Input(io::Error),
    /// The message cannot be stored while it is read, for example because the disk is full
    /// (`EX_TEMPFAIL`).
    #[error("cannot store the message in a file in {dir}: {0}", dir = std::env::temp_dir().display())]
    Spool(io::Error),
    /// The output cannot be written (`EX_IOERR`).
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The configuration cannot be used (`EX_CONFIG`).
    #[error(transparent)]
    Config(#[from] relay_config::FileError),
}

/// Why the relay did not accept a message for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// Nothing accepts connections at the socket.
    #[error("no relay answers at {}: {reason}", socket.display())]
    NoAnswer {
        /// The path of the socket.
        socket: PathBuf,
        /// Why there is no connection.
        reason: io::Error,
    },
    /// The connection cannot be used.
    #[error(transparent)]
    Connection(io::Error),
    /// The session has failed.
    #[error(transparent)]
    Session(SubmitError),
    /// The relay refused the message, or a recipient, temporarily.
    #[error("the relay replied: {0}")]
    Refused(Reply),
    /// The message needs SMTPUTF8 (RFC 6531).
    #[error("the relay does not offer SMTPUTF8")]
    NoUtf8,
}

mod sysexits {
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATAERR: u8 = 65;
    pub(super) const NOUSER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const OSERR: u8 = 71;
    pub(super) const IOERR: u8 = 74;
    pub(super) const TEMPFAIL: u8 = 75;
    pub(super) const NOPERM: u8 = 77;
    pub(super) const CONFIG: u8 = 78;
}

impl SendmailError {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => sysexits::USAGE,
            Self::Address(..) | Self::Header(_) | Self::TooLarge(_) => sysexits::DATAERR,
            Self::Refused { stage, reply, .. } => refusal(*stage, reply),
            Self::Temporary { .. } | Self::NoRelay(_) | Self::Retry | Self::Spool(_) => {
                sysexits::TEMPFAIL
            }
            Self::NoRelayctl(_) => sysexits::UNAVAILABLE,
            Self::System(..) => sysexits::OSERR,
            Self::Input(_) | Self::Output(_) => sysexits::IOERR,
            Self::Config(_) => sysexits::CONFIG,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Returns the exit code for a refusal. Status X.7.Z is about permissions (RFC 3463 §3.8).
fn refusal(stage: Stage, reply: &Reply) -> u8 {
    match (stage, reply.status()) {
        (_, Some(status)) if status.subject() == 7 => sysexits::NOPERM,
        (Stage::Rcpt, _) => sysexits::NOUSER,
        (Stage::Message, _) => sysexits::DATAERR,
        _ => sysexits::UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_for_temporary_files_is_a_temporary_failure() {
        let full = SendmailError::Spool(io::ErrorKind::StorageFull.into());
        assert_eq!(full.code(), 75);
    }

    #[test]
    fn the_exit_code_of_a_refusal_depends_on_the_command_and_the_status() {
        for (stage, reply, code) in [
            (Stage::Rcpt, Reply::new(550, 1, 1, "no such user"), 67),
            (Stage::Rcpt, Reply::new(553, 7, 1, "not here"), 77),
            (Stage::Mail, Reply::new(553, 7, 1, "bad sender"), 77),
            (Stage::Message, Reply::new(554, 6, 0, "bare CR"), 65),
            (Stage::Data, Reply::new(554, 5, 0, "no"), 69),
        ] {
            let what = String::new();
            let refused = SendmailError::Refused { what, stage, reply };
            assert_eq!(refused.code(), code, "{refused}");
        }
    }
}
