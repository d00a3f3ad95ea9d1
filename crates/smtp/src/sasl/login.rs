//! LOGIN: the server asks for the user name and then for the password.
//!
//! LOGIN was never specified. Some clients insist on exactly these prompts. An initial response is
//! the user name.

use super::{ResponseError, Secret, UserName, plain};

/// The first prompt.
pub const USER_PROMPT: &str = "Username:";
/// The second prompt.
pub const PASSWORD_PROMPT: &str = "Password:";

/// Parses the answer to the first prompt. [`ResponseError::Denied`] must be held back until the
/// second prompt has been answered too.
pub fn user_name(response: &[u8]) -> Result<UserName, ResponseError> {
    plain::user_name(response)
}

/// Parses the answer to the second prompt.
pub fn password(response: &[u8]) -> Result<Secret, ResponseError> {
    plain::secret(response)
}
