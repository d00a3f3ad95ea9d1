//! The errors that a client may find in a challenge.

/// Why a client stops an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The challenge is not base64, or not text.
    #[error("a challenge that cannot be decoded")]
    Encoding,
    /// The mechanism has no challenge at this point.
    #[error("a challenge where none was due")]
    Unexpected,
    /// The server reported success before the client had sent everything.
    #[error("success where a challenge was due")]
    Missing,
    /// The challenge does not follow the grammar of the mechanism.
    #[error("a challenge that makes no sense")]
    Malformed,
    /// The nonce does not begin with the client's nonce (RFC 5802 §5.1), so it belongs to another
    /// exchange.
    #[error("a challenge with a nonce that is not ours")]
    ForeignNonce,
    /// There are too few iterations to protect the password (RFC 7677 §4), or so many that they
    /// only waste time.
    #[error("a challenge with {0} iterations")]
    Iterations(u32),
    /// The server has not proved that it knows the password (RFC 5802 §3).
    #[error("the server could not prove that it knows the password")]
    ServerUnproven,
}
