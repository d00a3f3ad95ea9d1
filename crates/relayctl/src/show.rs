//! Answers as a person reads them.

mod acl;
mod books;
mod orders;
mod queue;
mod route;
mod status;
mod summary;

use std::io::Write;

use relay_terminal::print_json;
use serde::Serialize;

use crate::failure::Failure;

pub(crate) use acl::grants;
pub(crate) use books::audit;
pub(crate) use orders::orders;
pub(crate) use queue::{detail, entry, qread, steered};
pub(crate) use route::plan;
pub(crate) use status::qstat;
pub(crate) use summary::summary;

/// Prints the answer as JSON on one line.
pub(crate) fn json(out: &mut impl Write, answer: &impl Serialize) -> Result<(), Failure> {
    print_json(out, answer).map_err(Failure::Output)
}
