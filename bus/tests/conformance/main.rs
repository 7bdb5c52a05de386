//! One suite for every log: the same checks on real Apache Kafka (read directly, and by librdkafka), on a real NATS server and on the embedded log, then
//! what only one of them has. `checks` are functions of a [`fixture::Fixture`]; a new log needs a fixture and a line in `conformance!`.

mod away;
mod checks;
mod child;
mod fixture;
mod groups;
mod kafka_direct;
mod kafka_only;
mod kafka_tls;
mod local_only;
mod nats_only;

macro_rules! conformance {
    ($($check:path as $name:ident),+ $(,)?) => {
        mod local {
            $(#[test] fn $name() { $check(&mut crate::fixture::local()) })+
        }
        mod kafka {
            $(#[test] fn $name() { $check(&mut crate::fixture::kafka()) })+
        }
        mod kafka_by_librdkafka {
            $(#[test] fn $name() { $check(&mut crate::fixture::kafka_by_librdkafka()) })+
        }
        mod nats {
            $(#[test] fn $name() { $check(&mut crate::fixture::nats()) })+
        }
    };
}

conformance! {
    crate::checks::order_within_a_partition as order_within_a_partition,
    crate::checks::keys_go_where_the_java_client_puts_them as keys_go_where_the_java_client_puts_them,
    crate::checks::reading_from_a_position as reading_from_a_position,
    crate::checks::a_record_comes_back_whole as a_record_comes_back_whole,
    crate::checks::topics_are_created_once as topics_are_created_once,
    crate::checks::a_compacted_topic_keeps_the_last_of_each_key as a_compacted_topic_keeps_the_last_of_each_key,
    crate::checks::record_too_large as record_too_large,
    crate::checks::unknown_topic as unknown_topic,
    crate::checks::a_full_queue_hands_the_record_back as a_full_queue_hands_the_record_back,
    crate::groups::positions_and_metadata_come_back as positions_and_metadata_come_back,
    crate::groups::latest_skips_what_was_there as latest_skips_what_was_there,
    crate::groups::polls_for_no_records_lose_none as polls_for_no_records_lose_none,
    crate::groups::who_stays_reads_on_without_gap_or_repeat as who_stays_reads_on_without_gap_or_repeat,
    crate::groups::the_known_end_is_where_the_partition_ends as the_known_end_is_where_the_partition_ends,
    crate::groups::the_end_is_told_and_asked_for_alike as the_end_is_told_and_asked_for_alike,
    crate::groups::outputs_and_positions_together_or_not_at_all as outputs_and_positions_together_or_not_at_all,
    crate::groups::at_least_once_writes_outputs_first as at_least_once_writes_outputs_first,
    crate::groups::a_second_member_takes_over as a_second_member_takes_over,
    crate::groups::who_leaves_frees_its_partitions_at_once as who_leaves_frees_its_partitions_at_once,
    crate::groups::a_fenced_old_member_cannot_write as a_fenced_old_member_cannot_write,
    crate::child::kill_minus_nine_loses_and_doubles_nothing as kill_minus_nine_loses_and_doubles_nothing,
}
