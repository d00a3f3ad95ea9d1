//! What the last frame of a round tells: the state of the queue after it.

use crate::record::Ledger;

/// The octets of the generation.
const GENERATION: usize = 8;

/// The state of the queue after a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RoundState {
    /// An index on disk of an earlier generation is out of date: it is from a backup, or segments
    /// that it needs were given up.
    pub(crate) generation: u64,
    pub(crate) ledger: Ledger,
}

impl RoundState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [
            &self.generation.to_le_bytes()[..],
            &self.ledger.encode()[..],
        ]
        .concat()
    }

    /// Returns `None` if these octets are not the state of a round.
    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let (generation, ledger) = octets.split_first_chunk::<GENERATION>()?;
        Some(Self {
            generation: u64::from_le_bytes(*generation),
            ledger: Ledger::decode(ledger)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use relay_message::Books;

    use super::*;

    #[test]
    fn the_octets_of_a_state_are_fixed() {
        let books = Books {
            accepted: 1,
            reports: 2,
            delivered: 3,
            bounced: 4,
            discarded: 5,
            set_aside: 6,
        };
        let state = RoundState {
            generation: 0x0102,
            ledger: Ledger {
                books,
                is_short: false,
            },
        };
        let golden = b"\x02\x01\0\0\0\0\0\0\x01\x01\x02\x03\x04\x05\x06\0";
        assert_eq!(state.encode(), golden);
        assert_eq!(RoundState::decode(golden), Some(state));
        for end in 0..golden.len() {
            assert_eq!(RoundState::decode(&golden[..end]), None);
        }
    }
}
