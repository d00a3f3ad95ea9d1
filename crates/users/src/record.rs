//! One line of the file.

use std::fmt;

use relay_smtp::sasl::scram::ScramVerifier;
use relay_smtp::sasl::{UserName, UserNameError, base64};

use relay_smtp::pattern::{AddressPattern, AddressPatternError};

/// The stored data of one user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The argon2id hash of the password, as a PHC string.
    pub password: String,
    /// The verifier for SCRAM-SHA-256.
    pub scram: ScramVerifier,
    /// The addresses that the user may use in MAIL FROM. Without any, all addresses are allowed.
    pub senders: Vec<AddressPattern>,
}

/// Why a line is not a valid user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] UserNameError),
    /// The name begins with `#`, which would make the line a comment.
    #[error("a user's name does not begin with \"#\"")]
    Comment,
    /// The second field is not an argon2id hash.
    #[error("the second field is not an argon2id hash; set the password with relayctl user passwd")]
    Password,
    /// The third field is not a SCRAM verifier.
    #[error(
        "the third field is not a SCRAM-SHA-256 verifier; set the password with relayctl user passwd"
    )]
    Scram,
    /// A field after the third is not an address pattern.
    #[error(transparent)]
    Senders(#[from] AddressPatternError),
    /// Two lines have the same name.
    #[error("a second user of the same name")]
    Twice,
}

/// The prefix of a PHC string of argon2id. The code that verifies passwords parses the rest.
const ARGON2ID: &str = "$argon2id$";
/// RFC 5803 §2: the scheme, then `iterations:salt$stored:server`.
const SCRAM: &str = "SCRAM-SHA-256$";

pub(super) fn parse(line: &str) -> Result<(UserName, User), RecordError> {
    let mut fields = line.split('\t');
    let name: UserName = fields.next().unwrap_or_default().parse()?;
    check_name(&name)?;
    let password = fields.next().unwrap_or_default();
    if !password.starts_with(ARGON2ID) || !password.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(RecordError::Password);
    }
    let scram = fields.next().and_then(verifier);
    Ok((
        name,
        User {
            password: password.to_owned(),
            scram: scram.ok_or(RecordError::Scram)?,
            senders: fields.map(str::parse).collect::<Result<_, _>>()?,
        },
    ))
}

pub(super) fn check_name(name: &UserName) -> Result<(), RecordError> {
    if name.as_str().starts_with('#') {
        Err(RecordError::Comment)
    } else {
        Ok(())
    }
}

fn verifier(text: &str) -> Option<ScramVerifier> {
    let (parameters, keys) = text.strip_prefix(SCRAM)?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let octets = |text: &str| base64::decode(text.as_bytes()).ok();
    let key = |text: &str| octets(text)?.as_slice().try_into().ok();
    let salt = octets(salt).filter(|salt| !salt.is_empty())?;
    Some(ScramVerifier {
        iterations: iterations.parse().ok()?,
        salt: salt.to_vec(),
        stored_key: key(stored)?,
        server_key: key(server)?,
    })
}

/// Formats the fields after the name.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scram = &self.scram;
        let text = |octets: &[u8]| base64::encode(octets);
        write!(
            f,
            "{}\t{SCRAM}{}:{}${}:{}",
            self.password,
            scram.iterations,
            *text(&scram.salt),
            *text(&scram.stored_key),
            *text(&scram.server_key),
        )?;
        self.senders.iter().try_for_each(|s| write!(f, "\t{s}"))
    }
}

/// Shows nothing that would help to guess a password.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let senders: Vec<String> = self.senders.iter().map(ToString::to_string).collect();
        f.debug_struct("User")
            .field("senders", &format_args!("[{}]", senders.join(", ")))
            .finish_non_exhaustive()
    }
}
