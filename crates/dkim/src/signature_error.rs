//! What can be wrong with a signature.

/// Why a signature that somebody made does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SignatureError {
    /// The field is no signature (RFC 6376 §3.5).
    #[error("the signature cannot be read")]
    Syntax,
    /// Another version, algorithm or form, or more of it than anybody needs.
    #[error("the signature is of a kind that is not known here")]
    Unsupported,
    /// RFC 6376 §5.4: a signature without the author says nothing.
    #[error("the signature leaves out the From field")]
    AuthorUnsigned,
    /// `i=` is neither at `d=` nor below it, or the key does not allow that (RFC 6376 §3.6.1, `t=s`).
    #[error("the signature is for another domain than its key")]
    Identity,
    /// SHA-1 (RFC 8301 §3.1).
    #[error("rsa-sha1 is not trusted")]
    Sha1,
    /// `l=` lets anybody append to the body (RFC 6376 §8.2).
    #[error("the signature leaves out a part of the body")]
    PartOfBody,
    /// Under 1024 bits (RFC 8301 §3.2).
    #[error("the key is too short")]
    WeakKey,
    /// No record at the key's name, or none that is a key.
    #[error("there is no such key")]
    NoKey,
    /// An empty `p=`.
    #[error("the key is revoked")]
    Revoked,
    /// The record is for another algorithm or service.
    #[error("the key is not for this signature")]
    WrongKey,
    /// `x=` has passed.
    #[error("the signature has expired")]
    Expired,
    /// `bh=` is not the body's hash.
    #[error("the body has been changed")]
    BodyChanged,
    /// The signed fields or the signature itself are not what the key signed.
    #[error("the signature does not verify")]
    Forged,
}
