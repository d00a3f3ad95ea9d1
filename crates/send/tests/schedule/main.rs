//! The schedule under any order of events: no job is out twice, none is lost, no bound is broken,
//! and an idle schedule never asks to be polled at once.

mod run;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::run::{Ending, Event, POLICY, Run, key};

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4usize, 0..500u64, any::<bool>()).prop_map(|(destination, due, owes_notice)| {
            Event::Arrive { destination, due, owes_notice }
        }),
        6 => Just(Event::Begin),
        4 => ending().prop_map(Event::End),
        3 => (0..4_000u64).prop_map(Event::Pass),
        1 => proptest::option::of(0..4usize).prop_map(Event::Retry),
        1 => (0..40usize).prop_map(Event::RetryOne),
        1 => (0..40usize).prop_map(Event::Withdraw),
        1 => (0..4usize, any::<bool>()).prop_map(|(n, on)| Event::Suspend(n, on)),
        1 => Just(Event::Reload),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::Delivered),
        2 => (0..4_000u64).prop_map(Ending::Later),
        3 => Just(Ending::Trouble),
        1 => Just(Ending::Nothing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_job_is_handed_out_in_time_one_at_a_time_and_none_is_lost(events in vec(event(), 1..120)) {
        let mut run = Run::new();
        for event in events {
            run.happens(event);
        }
        run.drain();
    }

    #[test]
    fn every_message_expires_in_time_if_no_destination_answers(
        arrivals in vec((0..4usize, 0..500u64), 1..40),
    ) {
        let mut run = Run::new();
        let end = run.now + POLICY.lifetime + Duration::from_secs(500);
        for (destination, due) in arrivals {
            run.arrive(&key(destination), due, false);
        }
        while run.now < end {
            while run.begin() {}
            if run.under_way.is_empty() {
                let Some(deadline) = run.schedule.next_deadline() else {
                    break;
                };
                run.now = run.now.max(deadline);
            }
            run.end(Ending::Trouble);
        }
        prop_assert!(run.queued.is_empty(), "{:?}", run.queued);
    }
}

#[test]
fn a_bounded_number_of_destinations_without_work_is_remembered() {
    let mut run = Run::new();
    for n in 0..5_000 {
        run.arrive(&key(n), 0, false);
        assert!(run.begin());
        run.end(Ending::Delivered);
    }
    assert!(
        run.schedule.destinations() <= 1024 + 1,
        "{}",
        run.schedule.destinations()
    );
}

#[test]
fn destinations_take_turns_however_much_work_they_have() {
    let mut run = Run::new();
    (0..10_000).for_each(|_| run.arrive(&key(0), 0, false));
    for n in 1..4 {
        run.arrive(&key(n), 0, false);
    }
    let mut order = Vec::new();
    while order.len() < 4 {
        assert!(run.begin());
        order.push(run.under_way[order.len()].destination.clone());
    }
    order.sort();
    assert_eq!(
        order,
        [0, 1, 2, 3].map(key),
        "each has a turn before any has two"
    );
}

#[test]
fn jobs_that_met_the_first_trouble_also_leave_after_the_first_answer() {
    let mut run = Run::new();
    (0..4).for_each(|_| run.arrive(&key(0), 6_000, false));
    run.now += Duration::from_mins(100);
    while run.begin() {}
    (0..4).for_each(|_| run.end(Ending::Trouble));
    run.now += POLICY.unit;
    assert!(run.begin() && !run.begin(), "only one probe");
    run.end(Ending::Delivered);
    for _ in 0..3 {
        assert!(run.begin(), "its own next time is far away");
    }
}
