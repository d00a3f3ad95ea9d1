//! Decides which address a sequence of tokens forms (RFC 5322 §3.4, §4.4).

use std::ops::Range;

use super::tokens::{Kind, Token};
use super::{Address, Element};

/// The meaning of the tokens of an element so far.
#[derive(Debug, Clone, Default)]
pub(super) enum Candidate {
    #[default]
    Empty,
    /// Words joined by dots (`local-part`, `obs-local-part`).
    Local {
        place: Range<usize>,
        ends_in_dot: bool,
    },
    /// Words that are not joined: a phrase.
    Phrase,
    /// A local part and the `@` after it.
    At { local: Range<usize> },
    Domain {
        local: Range<usize>,
        place: Range<usize>,
        /// `None` after a literal, which nothing can follow.
        ends_in_dot: Option<bool>,
    },
    /// A sequence that RFC 5322 does not allow.
    Broken,
}

impl Candidate {
    pub(super) fn push(self, token: &Token, value: &[u8]) -> Self {
        let octets = &value[token.place.clone()];
        let is_word = matches!(token.kind, Kind::Word | Kind::Quoted);
        let starts_with_dot = token.kind == Kind::Word && octets.starts_with(b".");
        let ends_with_dot = token.kind == Kind::Word && octets.ends_with(b".");
        match self {
            Self::Empty if is_word => Self::Local {
                place: token.place.clone(),
                ends_in_dot: ends_with_dot,
            },
            Self::Local { place, ends_in_dot } if is_word && ends_in_dot != starts_with_dot => {
                Self::Local {
                    place: place.start..token.place.end,
                    ends_in_dot: ends_with_dot,
                }
            }
            Self::Local { .. } | Self::Phrase if is_word => Self::Phrase,
            Self::Local { place, .. } if token.kind == Kind::Mark(b'@') => {
                Self::At { local: place }
            }
            Self::At { local } if token.kind == Kind::Word => Self::Domain {
                local,
                place: token.place.clone(),
                ends_in_dot: Some(ends_with_dot),
            },
            Self::At { local } if token.kind == Kind::Literal => Self::Domain {
                local,
                place: token.place.clone(),
                ends_in_dot: None,
            },
            Self::Domain {
                local,
                place,
                ends_in_dot: Some(ends_in_dot),
            } if token.kind == Kind::Word && ends_in_dot != starts_with_dot => Self::Domain {
                local,
                place: place.start..token.place.end,
                ends_in_dot: Some(ends_with_dot),
            },
            _ => Self::Broken,
        }
    }

    pub(super) fn is_phrase(&self) -> bool {
        matches!(self, Self::Local { .. } | Self::Phrase)
    }

    pub(super) fn address(self) -> Option<Address> {
        match self {
            Self::Local { place, .. } => Some(Address {
                whole: place.clone(),
                local_part: place,
                domain: None,
            }),
            Self::Domain { local, place, .. } => Some(Address {
                whole: local.start..place.end,
                local_part: local,
                domain: Some(place),
            }),
            Self::Empty | Self::Phrase | Self::At { .. } | Self::Broken => None,
        }
    }

    /// Returns the element that these tokens form without angle brackets.
    pub(super) fn element(self, whole: Range<usize>, value: &[u8]) -> Element {
        if let Self::Phrase = self {
            return Element::Name(whole);
        }
        match self.address() {
            Some(address) if address.is_cut_name(value) => Element::Name(whole),
            Some(address) => Element::Address(address),
            None => Element::Unreadable(whole),
        }
    }
}
