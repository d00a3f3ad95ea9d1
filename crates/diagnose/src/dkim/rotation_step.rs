//! The steps of replacing a key, and the progress of each.

use serde::Serialize;

/// The progress of a step.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rotation {
    pub(crate) steps: Vec<RotationStep>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RotationStep {
    pub(crate) standing: Standing,
    pub(crate) what: String,
    /// The instructions, for the next step only.
    pub(crate) how: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    Done,
    Next,
    Later,
}
