//! Tag lists (RFC 6376 §3.2).

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 as receivers read it: the padding may be missing.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The most tags of a list, to bound the time for comparing them.
const MAX_TAGS: usize = 64;

/// The tags of a key record or a signature, in their order.
#[derive(Debug)]
pub(crate) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// Parses a tag list. Returns `None` if it is malformed, has a duplicate tag, or is too long.
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        let text = text.trim_ascii_end();
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for tag in text.strip_suffix(';').unwrap_or(text).split(';') {
            let (name, value) = tag.split_once('=')?;
            let name = name.trim_ascii();
            if name.is_empty()
                || tags.len() == MAX_TAGS
                || tags.iter().any(|(known, _)| *known == name)
            {
                return None;
            }
            tags.push((name, value.trim_ascii()));
        }
        Some(Self(tags))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }

    pub(crate) fn starts_with(&self, name: &str) -> bool {
        self.0.first().is_some_and(|(first, _)| *first == name)
    }

    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let items = self
            .value(name)
            .map(|value| value.split(':').map(str::trim_ascii));
        items.into_iter().flatten()
    }

    /// Whether a tag is missing, which allows everything, or contains one of these values.
    pub(crate) fn allows(&self, name: &str, wanted: &[&str]) -> bool {
        self.value(name).is_none()
            || self.list(name).any(|item| {
                wanted
                    .iter()
                    .any(|wanted| item.eq_ignore_ascii_case(wanted))
            })
    }
}
