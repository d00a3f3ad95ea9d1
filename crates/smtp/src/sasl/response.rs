//! The responses of a client in an exchange, as a server receives them.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::base64;

/// One response of a client, unchanged: it should be base64, but may not be.
#[derive(Clone, PartialEq, Eq)]
pub struct Response(Vec<u8>);

/// Why a server ends an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// `*`: the client cancels the exchange (RFC 4954 §4).
    #[error("the client cancelled the exchange")]
    Cancelled,
    /// The response is not base64 (RFC 4954 §4).
    #[error("the response is not base64")]
    NotBase64,
    /// The response does not follow the grammar of the mechanism.
    #[error("the response is malformed")]
    Malformed,
    /// The response is well formed, but cannot be right: a name that no user can have, text that
    /// cannot be a password, or a request to act for another user.
    #[error("the response cannot be right")]
    Denied,
}

impl Response {
    /// The line without its CR LF.
    pub fn new(line: impl Into<Vec<u8>>) -> Self {
        Self(line.into())
    }

    /// The octets of the line.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Decodes a response on its own line.
    pub fn decode(&self) -> Result<Zeroizing<Vec<u8>>, ResponseError> {
        match self.expose() {
            b"*" => Err(ResponseError::Cancelled),
            text => base64::decode(text).map_err(|_| ResponseError::NotBase64),
        }
    }

    /// Decodes an initial response, in which a lone `=` means no octets (RFC 4954 §4).
    pub fn decode_initial(&self) -> Result<Zeroizing<Vec<u8>>, ResponseError> {
        match self.expose() {
            b"=" => Ok(Zeroizing::default()),
            text => base64::decode(text).map_err(|_| ResponseError::NotBase64),
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_a_response() {
        assert_eq!(format!("{:?}", Response::new("czNjcmV0")), "Response");
    }

    #[test]
    fn a_star_cancels_and_a_lone_equals_sign_is_an_empty_initial_response() {
        use ResponseError::{Cancelled, NotBase64};
        for (line, as_line, as_initial) in [
            ("AGE=", Ok("\0a"), Ok("\0a")),
            ("", Ok(""), Ok("")),
            ("=", Err(NotBase64), Ok("")),
            ("*", Err(Cancelled), Err(NotBase64)),
            ("AGE", Err(NotBase64), Err(NotBase64)),
        ] {
            let octets = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
            let response = Response::new(line);
            assert_eq!(response.decode(), as_line.map(octets), "{line}");
            assert_eq!(response.decode_initial(), as_initial.map(octets), "{line}");
        }
    }
}
