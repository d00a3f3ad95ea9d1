//! XOAUTH2: a bearer token, as Google and Microsoft describe it.

use zeroize::Zeroizing;

use super::{Secret, UserName};

/// Makes the message of the client.
pub fn message(user: &UserName, token: &Secret) -> Zeroizing<Vec<u8>> {
    let (user, token) = (user.as_str().as_bytes(), token.expose().as_bytes());
    // Built in one piece, so that no copy of a part is left in memory.
    Zeroizing::new([b"user=", user, b"\x01auth=Bearer ", token, b"\x01\x01"].concat())
}

/// The answer to the challenge that says why a token was refused. After it the server sends its
/// reply.
pub const ACKNOWLEDGEMENT: &[u8] = b"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::base64;

    #[test]
    fn the_message_matches_the_example_of_google() {
        let user = "someuser@example.com".parse().expect("a name");
        let token = Secret::new("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg").expect("a token");
        assert_eq!(
            *base64::encode(&message(&user, &token)),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        );
    }
}
