//! What a client may find wrong with a challenge.

/// Why a client does not go on with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not base64, or not text.
    #[error("a challenge that cannot be decoded")]
    Encoding,
    /// It comes where the mechanism has none.
    #[error("a challenge where none was due")]
    Unexpected,
    /// Success before the client has said all.
    #[error("success where a challenge was due")]
    Missing,
    /// Not what the mechanism's grammar says.
    #[error("a challenge that makes no sense")]
    Malformed,
    /// The nonce does not begin with ours (RFC 5802 §5.1): the exchange is not this one.
    #[error("a challenge with a nonce that is not ours")]
    ForeignNonce,
    /// Too few iterations to protect the password (RFC 7677 §4), or so many that they only cost.
    #[error("a challenge with {0} iterations")]
    Iterations(u32),
    /// The server has not shown that it knows the password (RFC 5802 §3).
    #[error("the server could not prove that it knows the password")]
    ServerUnproven,
}
