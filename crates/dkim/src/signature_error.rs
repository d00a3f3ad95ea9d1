//! The reasons why a signature is not valid.

/// Why a signature of a received message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SignatureError {
    /// The field is not a signature (RFC 6376 §3.5).
    #[error("the signature cannot be read")]
    Syntax,
    /// The version, algorithm or canonical form is unknown, or a list is too long.
    #[error("the signature is of a kind that is not known here")]
    Unsupported,
    /// From is not signed (RFC 6376 §5.4).
    #[error("the signature leaves out the From field")]
    AuthorUnsigned,
    /// `i=` is not at or below `d=`, or the key does not allow it (RFC 6376 §3.6.1, `t=s`).
    #[error("the signature is for another domain than its key")]
    Identity,
    /// The algorithm uses SHA-1 (RFC 8301 §3.1).
    #[error("rsa-sha1 is not trusted")]
    Sha1,
    /// `l=` would allow anyone to append to the body (RFC 6376 §8.2).
    #[error("the signature leaves out a part of the body")]
    PartOfBody,
    /// The key has fewer than 1024 bits (RFC 8301 §3.2).
    #[error("the key is too short")]
    WeakKey,
    /// There is no key record at the key's name.
    #[error("there is no such key")]
    NoKey,
    /// The record has an empty `p=`.
    #[error("the key is revoked")]
    Revoked,
    /// The record is for another algorithm or service.
    #[error("the key is not for this signature")]
    WrongKey,
    /// The time in `x=` has passed.
    #[error("the signature has expired")]
    Expired,
    /// The body's hash differs from `bh=`.
    #[error("the body has been changed")]
    BodyChanged,
    /// The signature does not match the signed fields and the key.
    #[error("the signature does not verify")]
    Forged,
}
