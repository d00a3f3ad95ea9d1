//! A client's lines in an exchange, as a server takes them.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::base64;

/// One line of a client's part in an exchange as it came: base64, or what should have been.
#[derive(Clone, PartialEq, Eq)]
pub struct Response(Vec<u8>);

/// Why a server ends an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// `*`: the client wants no more of it (RFC 4954 §4).
    #[error("the client cancelled the exchange")]
    Cancelled,
    /// Not base64 (RFC 4954 §4).
    #[error("a response that is not base64")]
    NotBase64,
    /// Not what the mechanism's grammar says.
    #[error("a response that makes no sense")]
    Malformed,
    /// Well-formed, but nobody can be meant: a name that no user has, text that is no password, or
    /// somebody who wants to act for another.
    #[error("a response that nobody can have given")]
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

    /// What a line of its own says.
    pub fn decode(&self) -> Result<Zeroizing<Vec<u8>>, ResponseError> {
        match self.expose() {
            b"*" => Err(ResponseError::Cancelled),
            text => base64::decode(text).map_err(|_| ResponseError::NotBase64),
        }
    }

    /// What it says as an initial response, where a lone `=` stands for no octets (RFC 4954 §4).
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
    fn a_response_does_not_show_itself() {
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
