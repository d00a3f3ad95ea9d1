//! PLAIN (RFC 4616): `authzid NUL authcid NUL password`.

use zeroize::Zeroizing;

use super::{ResponseError, Secret, UserName};

/// Parses the message of a client: the user and the password. Users cannot act for others, so the
/// authorization identity must be empty or the user's own name.
pub fn parse(message: &[u8]) -> Result<(UserName, Secret), ResponseError> {
    let mut parts = message.split(|&octet| octet == 0);
    let (Some(acts_as), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ResponseError::Malformed);
    };
    if !acts_as.is_empty() && acts_as != user {
        return Err(ResponseError::Denied);
    }
    Ok((user_name(user)?, secret(password)?))
}

/// Makes the message of the client.
pub fn message(user: &UserName, password: &Secret) -> Zeroizing<Vec<u8>> {
    let (user, password) = (user.as_str().as_bytes(), password.expose().as_bytes());
    let mut message = Zeroizing::new(Vec::with_capacity(2 + user.len() + password.len()));
    for part in [b"\0", user, b"\0", password] {
        message.extend_from_slice(part);
    }
    message
}

/// Parses a user name from the wire.
pub(super) fn user_name(octets: &[u8]) -> Result<UserName, ResponseError> {
    let text = std::str::from_utf8(octets).map_err(|_| ResponseError::Denied)?;
    text.parse().map_err(|_| ResponseError::Denied)
}

/// Parses a password from the wire.
pub(super) fn secret(octets: &[u8]) -> Result<Secret, ResponseError> {
    let text = std::str::from_utf8(octets).map_err(|_| ResponseError::Denied)?;
    Secret::new(text).map_err(|_| ResponseError::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_separated() {
        for (message, user, password) in [
            (&b"\0tim\0tanstaaftanstaaf"[..], "tim", "tanstaaftanstaaf"),
            (b"tim\0tim\0x", "tim", "x"),
            (b"\0tim\0", "tim", ""),
            ("\0j\u{fc}rgen\0p\u{e4}ss".as_bytes(), "jürgen", "päss"),
        ] {
            let (found, secret) = parse(message).expect(user);
            assert_eq!((found.as_str(), secret.expose()), (user, password));
        }
    }

    #[test]
    fn a_bad_message_is_malformed_and_an_impossible_user_is_denied() {
        for malformed in [&b""[..], b"tim", b"tim\0x", b"\0tim\0x\0", b"\0\0\0\0"] {
            assert_eq!(parse(malformed), Err(ResponseError::Malformed));
        }
        for denied in [
            &b"\0\0x"[..],
            b"root\0tim\0x",
            b"\0t\xff\0x",
            b"\0tim\0\xff",
            b"\0t\x1bim\0x",
            b"\0tim\0a\nb",
        ] {
            assert_eq!(parse(denied), Err(ResponseError::Denied), "{denied:?}");
        }
        let long = [b"\0".as_slice(), &[b'x'; 256], b"\0x"].concat();
        assert_eq!(parse(&long), Err(ResponseError::Denied));
    }

    #[test]
    fn a_message_parses_to_the_values_it_was_made_from() {
        let user: UserName = "tim".parse().expect("a name");
        let password = Secret::new("tanstaaf").expect("plain text");
        let message = message(&user, &password);
        assert_eq!(*message, b"\0tim\0tanstaaf");
        assert_eq!(parse(&message), Ok((user, password)));
    }
}
