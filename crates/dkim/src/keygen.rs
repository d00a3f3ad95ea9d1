//! Generates keys.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{Algorithm, PublicKey, subject_public_key_info};

/// The length of PEM lines (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// A new key.
pub struct GeneratedKey {
    pem: String,
    public: PublicKey,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The crypto library failed.
    #[error("the crypto library cannot make a key")]
    Crypto(#[from] Unspecified),
    /// The file exists. It is never overwritten, because it may hold a key in use.
    #[error("{} already exists and was not changed; use another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("the key {} cannot be written: {source}", path.display())]
    Write {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl GeneratedKey {
    /// Makes a key. An RSA key gets 2048 bits: the record of a longer key may not fit into a DNS
    /// answer over UDP (RFC 6376 §3.3.3).
    pub fn generate(algorithm: Algorithm) -> Result<Self, GenerateError> {
        let (der, octets) = match algorithm {
            Algorithm::Rsa => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
                let public = subject_public_key_info(&pair).ok_or(Unspecified)?;
                (AsDer::as_der(&pair)?.as_ref().to_vec(), public)
            }
            Algorithm::Ed25519 => {
                // Version 1 of PKCS#8, which openssl and others can read.
                let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?;
                let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|_| Unspecified)?;
                (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
        };
        Ok(Self {
            pem: to_pem(&der),
            public: PublicKey { algorithm, octets },
        })
    }

    /// The private key, PKCS#8 in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Writes the private key to a new file that only its owner can read and write, and syncs it to
    /// disk.
    pub fn write_new(&self, path: &Path) -> Result<(), GenerateError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => GenerateError::Exists(path.to_owned()),
            _ => GenerateError::Write {
                path: path.to_owned(),
                source,
            },
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let written = file
            .write_all(self.pem.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_directory(path));
        written.map_err(|error| {
            // An incomplete file is useless and would be in the way of the next try.
            let _ = std::fs::remove_file(path);
            failed(error)
        })
    }
}

/// Shows nothing of the key.
impl std::fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedKey")
            .field("algorithm", &self.public.algorithm)
            .finish_non_exhaustive()
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn to_pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(PEM_LINE) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
