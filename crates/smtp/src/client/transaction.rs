//! The transaction under way.

use crate::client::envelope::{Answer, Commands};
use crate::outcome::Stage;
use crate::reply::Reply;

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) commands: Commands,
    /// The recipients that are sent in RCPT, as indices of `answers`.
    pub(super) asked: Vec<usize>,
    pub(super) answers: Vec<Option<Answer>>,
    /// How many RCPT were answered with 2xx.
    pub(super) accepted: usize,
    /// Whether a reply to any of its commands has come.
    pub(super) answered: bool,
}

impl Transaction {
    pub(super) fn answered(self) -> Self {
        Self {
            answered: true,
            ..self
        }
    }

    pub(super) fn refused(self, stage: Stage, reply: &Reply) -> Self {
        self.answer_open(|| Answer::Refused(stage, reply.clone()))
    }

    pub(super) fn answer_open(mut self, answer: impl Fn() -> Answer) -> Self {
        for open in self.answers.iter_mut().filter(|a| a.is_none()) {
            *open = Some(answer());
        }
        self
    }
}
