//! Makes unique queue ids.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use relay_message::QueueId;

/// Makes unique ids that sort by time.
#[derive(Debug, Default)]
pub(crate) struct IdSource {
    last: AtomicU64,
}

impl IdSource {
    /// Makes all later ids higher than `id`.
    pub(crate) fn skip_past(&self, id: QueueId) {
        self.last.fetch_max(id.to_bits(), Ordering::Relaxed);
    }

    /// Returns the next id at the time `now`. It is higher than the last one, even if the clock was
    /// set back.
    pub(crate) fn next(&self, now: SystemTime) -> QueueId {
        let micros = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_micros();
        let bits = u64::try_from(micros << 12).unwrap_or(u64::MAX / 2) | fastrand::u64(..1 << 12);
        let step = |last: u64| Some(bits.max(last.saturating_add(1)));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        QueueId::from_bits(bits.max(last.unwrap_or_default().saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_rise_even_if_the_clock_stops_or_goes_back() {
        let (source, start) = (IdSource::default(), UNIX_EPOCH + Duration::from_secs(1000));
        source.skip_past(QueueId::from_bits(77));
        let times = [start, start, start - Duration::from_secs(5), start];
        let ids: Vec<_> = times.iter().map(|&now| source.next(now)).collect();
        assert!(
            ids.is_sorted() && ids.windows(2).all(|w| w[0] != w[1]),
            "{ids:?}"
        );
        assert!(ids[0] > QueueId::from_bits(77));
    }
}
