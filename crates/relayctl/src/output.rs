//! Prints an answer as JSON.

use std::io::Write;

use relay_terminal::print_json;
use serde::Serialize;

use crate::error::RelayctlError;

/// Prints the answer as JSON on one line.
pub(crate) fn print_answer(
    out: &mut impl Write,
    answer: &impl Serialize,
) -> Result<(), RelayctlError> {
    print_json(out, answer).map_err(RelayctlError::Output)
}
