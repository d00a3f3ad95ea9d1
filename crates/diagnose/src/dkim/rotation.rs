//! The steps of replacing a key, and how far each is.

use serde::Serialize;

/// How far it is.
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
