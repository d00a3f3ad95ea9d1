//! OAUTHBEARER (RFC 7628): a bearer token.

use zeroize::Zeroizing;

use super::scram::escape;
use super::{Secret, UserName};

/// Makes the message of the client (RFC 7628 §3.1).
pub fn message(user: &UserName, token: &Secret) -> Zeroizing<Vec<u8>> {
    let (user, token) = (escape(user.as_str()), token.expose().as_bytes());
    let parts = [
        b"n,a=",
        user.as_bytes(),
        b",\x01auth=Bearer ",
        token,
        b"\x01\x01",
    ];
    // Built in one piece, so that no copy of a part is left in memory.
    Zeroizing::new(parts.concat())
}

/// The answer to the challenge that says why a token was refused. After it the server sends its
/// reply (RFC 7628 §3.2.3).
pub const ACKNOWLEDGEMENT: &[u8] = b"\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_name_is_escaped() {
        let user = "a,b=c@example.com".parse().expect("a name");
        let token = Secret::new("vF9dft4qmT").expect("a token");
        assert_eq!(
            *message(&user, &token),
            b"n,a=a=2Cb=3Dc@example.com,\x01auth=Bearer vF9dft4qmT\x01\x01"
        );
    }
}
