//! Private keys in files, and the public keys for the DNS.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};

/// The smallest size of an RSA key in bits. RFC 8301 §3.2 requires it, and the crypto library does
/// not sign with shorter keys.
pub(crate) const MIN_RSA_BITS: usize = 2048;

/// The largest key file in octets.
const MAX_FILE: u64 = 64 * 1024;

/// The signature algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256` (RFC 6376 §3.3.1). Every receiver supports it.
    Rsa,
    /// `ed25519-sha256` (RFC 8463). It is short and fast, but many receivers do not support it.
    Ed25519,
}

impl Algorithm {
    /// The name in the `k=` tag of a DNS record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A public key as in a DNS record: a `SubjectPublicKeyInfo` for RSA (RFC 6376, erratum 3017), or
/// the 32 octets of an Ed25519 key (RFC 8463 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) octets: Vec<u8>,
}

impl PublicKey {
    /// The signature algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A private key for signing.
pub struct PrivateKey {
    signing: DkimKey,
    public: PublicKey,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key {} cannot be read: {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Others than the owner can read the file.
    #[error("the key {path} can be read by others than its owner (mode {mode:04o}): chmod 600 {path}", path = path.display())]
    Readable {
        /// The path of the file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file does not contain a usable key.
    #[error("the key {} cannot be used: {source}", path.display())]
    Content {
        /// The path of the file.
        path: PathBuf,
        /// The problem with its content.
        source: PemError,
    },
}

/// Why a PEM text is not a usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It contains no private key.
    #[error("it is not a private key in PEM form (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)")]
    NoKey,
    /// The key is protected by a passphrase.
    #[error("it is encrypted; `openssl pkey -in FILE -out NEW` removes the passphrase")]
    Encrypted,
    /// The key is neither RSA nor Ed25519, or is damaged.
    #[error("it is neither an RSA nor an Ed25519 key, or it is damaged")]
    Unknown,
    /// The RSA key is too short.
    #[error("it is a weak key: an RSA key must have at least {MIN_RSA_BITS} bits")]
    Weak,
}

impl PrivateKey {
    /// Reads a key from a file that only its owner can read.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let pem = read(path)?;
        Self::from_pem(&pem).map_err(|source| KeyError::Content {
            path: path.to_owned(),
            source,
        })
    }

    /// Parses a key in PEM: PKCS#8 (RFC 5958), or PKCS#1 for RSA.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PemError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound if is_encrypted(pem) => PemError::Encrypted,
            _ => PemError::NoKey,
        })?;
        match Self::ed25519(&der) {
            Some(key) => Ok(key),
            None => Self::rsa(der),
        }
    }

    fn ed25519(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let PrivateKeyDer::Pkcs8(der) = der else {
            return None;
        };
        let key = Ed25519Key::from_pkcs8_der(der.secret_pkcs8_der()).ok()?;
        Some(Self {
            public: PublicKey {
                algorithm: Algorithm::Ed25519,
                octets: key.public_key(),
            },
            signing: key.into(),
        })
    }

    fn rsa(der: PrivateKeyDer<'_>) -> Result<Self, PemError> {
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => rsa::KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(PemError::Unknown),
        }
        .map_err(rejected)?;
        let public = PublicKey {
            algorithm: Algorithm::Rsa,
            octets: subject_public_key_info(&pair).ok_or(PemError::Unknown)?,
        };
        let signing = RsaKey::<Sha256>::from_key_der(der).map_err(|_| PemError::Unknown)?;
        Ok(Self {
            signing: signing.into(),
            public,
        })
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn signing(&self) -> &impl SigningKey {
        &self.signing
    }
}

/// Shows nothing of the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.public.algorithm)
            .finish_non_exhaustive()
    }
}

pub(crate) fn subject_public_key_info(pair: &rsa::KeyPair) -> Option<Vec<u8>> {
    use aws_lc_rs::signature::KeyPair as _;
    let der = pair.public_key().as_der().ok()?;
    Some(der.as_ref().to_vec())
}

fn rejected(error: KeyRejected) -> PemError {
    // The library gives the reason only as this text. A test checks it.
    if error.description_() == "TooSmall" {
        PemError::Weak
    } else {
        PemError::Unknown
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"BEGIN ENCRYPTED PRIVATE KEY").is_some()
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        // Reading a pipe would wait for a writer.
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    // The mode of the open file, not of another file that has taken its name in the meantime.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Readable {
            path: path.to_owned(),
            mode,
        });
    }
    let mut pem = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut pem).map_err(failed)?;
    Ok(pem)
}
