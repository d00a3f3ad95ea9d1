//! The errors that a client may find in a challenge.

/// Why a client stops an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The challenge is not base64, or not text.
    #[error("the challenge cannot be decoded")]
    Encoding,
    /// The mechanism has no challenge at this point.
    #[error("the server sent a challenge that the mechanism does not have")]
    Unexpected,
    /// The server reported success before the client had sent everything.
    #[error("the server reported success before the exchange was complete")]
    Missing,
    /// The challenge does not follow the grammar of the mechanism.
    #[error("the challenge is malformed")]
    Malformed,
    /// The nonce does not begin with the client's nonce (RFC 5802 §5.1), so it belongs to another
    /// exchange.
    #[error("the nonce of the challenge does not begin with ours")]
    ForeignNonce,
    /// There are too few iterations to protect the password (RFC 7677 §4), or so many that they
    /// only waste time.
    #[error("the challenge asks for {0} iterations")]
    Iterations(u32),
    /// The server has not proved that it knows the password (RFC 5802 §3).
    #[error("the server has not proved that it knows the password")]
    ServerUnproven,
}
