//! The contract of [`relay_message::QueueStore`], tested on all stores and on one whose operations
//! fail.

mod archive;
mod damage;
mod disk;
mod faults;
mod fsck;
mod index;
mod journal_file;
mod later;
mod model;
mod quarantine;
mod rules;

mod round_trip;
mod stores;

use relay_queue::{MemoryStore, SledStore};
use relay_testkit::FaultyStore;

/// Runs all rules of the contract on a store.
macro_rules! contract {
    ($($store:ident: $harness:ty,)*) => { $(
        mod $store {
            use super::*;

            contract!(@rules $harness, round_trip: [
                what_was_committed_is_given_back,
                any_octets_come_back_as_they_were,
                a_spool_dropped_before_its_commit_leaves_nothing,
                a_bounce_is_given_back_too,
            ]);
            contract!(@rules $harness, rules: [
                a_settled_recipient_stays_settled,
                a_change_to_a_settled_recipient_changes_nothing,
                the_last_attempts_are_kept_and_all_are_counted,
                what_the_sender_asked_of_reports_is_kept,
                the_last_settlement_removes_the_message_and_brings_the_bounce_in,
                an_attempt_on_one_recipient_may_bring_a_bounce_in,
                an_index_beyond_the_recipients_changes_nothing,
                a_lost_claim_leaves_everything_untouched,
                a_later_claim_ends_the_former,
                a_claim_given_up_is_lost_and_the_message_stays,
                a_held_message_says_so_until_it_is_released,
                a_hold_and_an_attempt_under_way_leave_each_other_alone,
                a_deleted_message_is_gone_and_every_claim_on_it_lost,
                a_delete_beats_a_settlement_that_comes_with_it,
                the_books_tell_what_became_of_each_recipient,
                what_is_not_there_cannot_be_claimed,
                a_scan_gives_pages_in_order,
                the_counts_are_right_after_each_operation,
                ids_never_repeat,
                a_closed_store_answers_closed,
            ]);
        }
    )* };
    (@rules $harness:ty, $file:ident: [$($rule:ident,)*]) => { $(
        #[tokio::test]
        async fn $rule() {
            $file::$rule(<$harness as stores::Harness>::new()).await;
        }
    )* };
}

contract! {
    in_memory: stores::InMemory,
    on_disk: stores::OnDisk,
    in_memory_behind_faults: stores::InMemory<FaultyStore<MemoryStore>>,
    on_disk_behind_faults: stores::OnDisk<FaultyStore<SledStore>>,
}
