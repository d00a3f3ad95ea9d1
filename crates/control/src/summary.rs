//! Waiting recipients by destination and age.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper limits of the age columns in minutes; the last column has none.
pub const AGES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

/// The unsettled recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The upper limits of the columns of `ages` in seconds; the last column has none.
    pub ages_below: Vec<u64>,
    /// The total.
    pub total: Waiting,
    /// The destinations, the largest first.
    pub destinations: Vec<Waiting>,
}

/// The waiting recipients of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The destination: a domain, or a smarthost. `TOTAL` for all together.
    pub name: String,
    /// How many recipients wait.
    pub recipients: u64,
    /// How many wait in each column, by the time since their message arrived.
    pub ages: Vec<u64>,
}

impl Waiting {
    /// Creates an empty count.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            recipients: 0,
            ages: vec![0; AGES.len() + 1],
        }
    }

    /// Counts one more recipient of this age.
    pub fn count(&mut self, age: Duration) {
        let minutes = age.as_secs() / 60;
        let column = AGES.partition_point(|&end| end <= minutes);
        self.recipients += 1;
        self.ages[column] += 1;
    }
}

impl Summary {
    /// Adds the destinations up and sorts them.
    pub fn of(mut destinations: Vec<Waiting>) -> Self {
        let mut total = Waiting::new("TOTAL");
        for destination in &destinations {
            total.recipients += destination.recipients;
            for (sum, count) in total.ages.iter_mut().zip(&destination.ages) {
                *sum += count;
            }
        }
        destinations.sort_by(|a, b| {
            let most_first = b.recipients.cmp(&a.recipients);
            most_first.then_with(|| a.name.cmp(&b.name))
        });
        Self {
            ages_below: AGES.iter().map(|minutes| minutes * 60).collect(),
            total,
            destinations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_falls_into_the_column_that_ends_after_it() {
        for (seconds, column) in [
            (0, 0),
            (299, 0),
            (300, 1),
            (1199, 2),
            (1280 * 60 - 1, 8),
            (1280 * 60, 9),
            (u64::MAX, 9),
        ] {
            let mut waiting = Waiting::new("a.test");
            waiting.count(Duration::from_secs(seconds));
            assert_eq!(waiting.ages.iter().position(|&n| n == 1), Some(column));
            assert_eq!(waiting.recipients, 1);
        }
    }

    #[test]
    fn the_busiest_come_first_and_the_total_has_all() {
        let with = |name, ages: &[u64]| {
            let mut waiting = Waiting::new(name);
            for &age in ages {
                waiting.count(Duration::from_secs(age));
            }
            waiting
        };
        let rows = vec![with("b", &[0]), with("a", &[0]), with("c", &[0, 600])];
        let summary = Summary::of(rows);
        let names: Vec<_> = summary.destinations.iter().map(|d| &*d.name).collect();
        assert_eq!(names, ["c", "a", "b"]);
        assert_eq!(summary.total.recipients, 4);
        assert_eq!(summary.total.ages[..3], [3, 0, 1]);
        assert_eq!(summary.ages_below[..2], [300, 600]);
    }
}
