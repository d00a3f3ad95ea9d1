//! Files that the configuration names. Their content is read separately, because a bad certificate
//! is no reason to refuse the rest of the configuration.

use std::path::Path;

use relay_remote::check_ca_file;
use relay_smtpd::{CertificatePair, TlsError, TlsServer, TlsSettings};

use super::{AuthConfig, Config, ConfigError, NamedFile};
use crate::users::UsersFile;

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates with their keys. The first one is the default. Without any there is no TLS.
    pub pairs: Vec<CertificateFiles>,
    /// Whether clients may resume sessions with tickets.
    pub session_tickets: bool,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain in PEM.
    pub certificate: NamedFile,
    /// The private key in PEM.
    pub key: NamedFile,
}

impl TlsConfig {
    /// Returns whether TLS is configured.
    pub fn is_on(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Returns all certificate and key files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &NamedFile> {
        self.pairs
            .iter()
            .flat_map(|pair| [&pair.certificate, &pair.key])
    }

    /// Reads the certificates and keys. Returns `None` if there are none.
    pub fn load(&self) -> Result<Option<TlsServer>, ConfigError> {
        if !self.is_on() {
            return Ok(None);
        }
        self.files().try_for_each(NamedFile::check_readable)?;
        let pairs = self.pairs.iter().map(|pair| CertificatePair {
            certificate: pair.certificate.path().to_owned(),
            key: pair.key.path().to_owned(),
        });
        let settings = TlsSettings {
            session_tickets: self.session_tickets,
        };
        let server = TlsServer::new(&pairs.collect::<Vec<_>>(), settings);
        server.map(Some).map_err(|error| self.blame(&error))
    }

    fn blame(&self, error: &TlsError) -> ConfigError {
        let file = match error {
            TlsError::Read { file, .. }
            | TlsError::NoCertificate { file }
            | TlsError::NoKey { file }
            | TlsError::BadCertificate { file, .. }
            | TlsError::BadKey { file, .. }
            | TlsError::Mismatch { key: file, .. } => Some(file),
            TlsError::NoPair | TlsError::Setup { .. } => None,
        };
        let named = file.and_then(|file| self.files().find(|named| named.path() == file));
        match named.or(self.pairs.first().map(|pair| &pair.certificate)) {
            Some(named) => named.error(error),
            None => ConfigError::of_file(Path::new("[tls]"), error.to_string()),
        }
    }
}

impl AuthConfig {
    /// Reads the users. A file that does not exist has no users.
    pub(crate) fn load(&self) -> Result<UsersFile, ConfigError> {
        UsersFile::load(self.users.path()).map_err(|reason| self.users.error(reason))
    }
}

impl Config {
    /// Checks that all named files can be used, as the start of the daemon does.
    pub fn check_all_files(&self) -> Result<(), ConfigError> {
        self.check_files()?;
        self.tls.load()?;
        self.dkim.load()?;
        self.auth.load()?;
        Ok(())
    }

    /// Checks that the files for deliveries can be used. Passwords are read when they are needed,
    /// because they may change at any time.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        self.needed.iter().try_for_each(NamedFile::check_readable)?;
        let authorities = self.needed.iter().find(|file| {
            let ca_file = self.delivery.ca_file.as_deref();
            Some(file.path()) == ca_file
        });
        match authorities {
            Some(file) => check_ca_file(file.path()).map_err(|reason| file.error(reason)),
            None => Ok(()),
        }
    }

    /// Returns all files whose changes concern a running relay, except the users file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &NamedFile> {
        self.tls
            .files()
            .chain(self.dkim.files())
            .chain(&self.needed)
    }
}
