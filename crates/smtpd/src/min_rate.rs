//! The minimum rate at which a message must arrive.
//!
//! The command timeout starts again with each octet, so on its own it would let a slow client keep its
//! session for ever.

use std::time::Duration;

use tokio::time::Instant;

/// The time that every message has, even if little of it has arrived.
const PATIENCE: Duration = Duration::from_mins(10);
/// The rate in octets per second that earns more time. It is slower than any modem.
const RATE: u64 = 1024;

/// The time limit of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinRate {
    began: Instant,
    octets: u64,
    /// The most octets that earn time; more than the size limit is only discarded.
    most: u64,
}

impl MinRate {
    /// Starts the time of a message of at most `most` octets.
    pub(crate) fn new(began: Instant, most: u64) -> Self {
        Self {
            began,
            octets: 0,
            most,
        }
    }

    /// Counts octets that have arrived.
    pub(crate) fn add(&mut self, octets: usize) {
        self.octets = self.octets.saturating_add(octets as u64).min(self.most);
    }

    /// When the message has taken too long if no more of it arrives; `None` if that is beyond the range
    /// of the clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let bought = Duration::from_secs(self.octets / RATE);
        self.began.checked_add(PATIENCE.saturating_add(bought))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_message_has_ten_minutes_and_a_second_for_each_kib_up_to_its_limit() {
        let began = clock::now();
        let mut min_rate = MinRate::new(began, 10 * 1024);
        let after = |seconds| began.checked_add(Duration::from_secs(seconds));
        for (octets, seconds) in [(0, 600), (1023, 600), (1, 601), (4096, 605), (1 << 30, 610)] {
            min_rate.add(octets);
            assert_eq!(min_rate.deadline(), after(seconds), "{octets}");
        }
        let mut endless = MinRate::new(began, u64::MAX);
        endless.add(usize::MAX);
        endless.add(usize::MAX);
        assert!(endless.deadline() >= after(600) || endless.deadline().is_none());
    }
}
