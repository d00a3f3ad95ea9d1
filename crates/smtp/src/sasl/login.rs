//! LOGIN: the user and the password, asked for one after the other.
//!
//! Never specified; these prompts are the ones that some clients insist on. An initial response is
//! the user's name.

use super::{ResponseError, Secret, UserName, plain};

/// The first question.
pub const USER_PROMPT: &str = "Username:";
/// The second question.
pub const PASSWORD_PROMPT: &str = "Password:";

/// The answer to the first question. [`ResponseError::Denied`] is to be held back until the second
/// one has been answered too.
pub fn user_name(response: &[u8]) -> Result<UserName, ResponseError> {
    plain::user_name(response)
}

/// The answer to the second question.
pub fn password(response: &[u8]) -> Result<Secret, ResponseError> {
    plain::secret(response)
}
