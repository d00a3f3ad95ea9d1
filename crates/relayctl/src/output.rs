//! Prints an answer as JSON.

use std::io::Write;

use relay_terminal::print_json;
use serde::Serialize;

use crate::failure::Failure;

/// Prints the answer as JSON on one line.
pub(crate) fn print_answer(out: &mut impl Write, answer: &impl Serialize) -> Result<(), Failure> {
    print_json(out, answer).map_err(Failure::Output)
}
