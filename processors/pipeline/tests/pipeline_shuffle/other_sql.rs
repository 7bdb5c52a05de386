//! What becomes of groups that are sent when the SQL changes.

use crate::{
    SINK, SQL,
    cluster::{Cluster, SHUFFLED},
    common::{EVENTS, planned},
    count, dataflow, in_turn, run,
};
use amoskys_pipeline::sql::Dataflow;
use proptest::prelude::*;
use std::cell::Cell;

/// Everybody is killed, and goes on with an INSERT more or less, of sessions that are sent. The others' rows come as if nothing had
/// been, bit for bit; those of the new one are whole from the first window on that ends after what was told.
#[test]
fn other_sql_leaves_the_rest_alone_and_is_whole_from_its_first_window_on() {
    let all = dataflow();
    let events = EVENTS.replace("idle '5s'", "idle '5s', replay_max '2s'");
    let less = SQL.rsplit_once("INSERT INTO").expect("an INSERT").0;
    let less = planned(&[("a.sql", &events), ("b.sql", SINK), ("q.sql", less)]);
    let names = |of: &Dataflow| of.streams.iter().map(|flow| flow.stream.topic.clone()).collect::<Vec<_>>();
    assert_eq!(names(&all), names(&less));
    let [rebuilt, told_before, new, other_places] = [const { Cell::new(0usize) }; 4];
    run(300, |_, records, steps| {
        let expected = in_turn(&all, &records);
        let is_more = records.len() % 4 > 0;
        let (first, second) = if is_more { (&less, &all) } else { (&all, &less) };
        let mut cluster = Cluster::new(first, &records);
        let ids: Vec<_> = cluster.owners.keys().copied().collect();
        let mut through_ns = [i64::MIN; SHUFFLED as usize];
        let steps = if steps.is_empty() { &[(0, 9)][..] } else { &steps[..] };
        for (number, &(who, what)) in steps.iter().enumerate() {
            if number == steps.len() / 2 {
                // Windows up to here need not be told of what is new.
                through_ns = [0, 1].map(|partition| cluster.watermark((1, partition)).unwrap_or(i64::MIN));
                cluster.change(second);
            }
            let id = ids[usize::from(who) % ids.len()];
            match what % 16 {
                0..4 => (0..=who / 16).for_each(|_| {
                    cluster.read(id);
                }),
                // Nobody may be left behind for long, or all wait for it.
                of @ 4..9 => {
                    for &id in &ids {
                        for _ in 0..=who / 64 {
                            cluster.read(id);
                        }
                        if of % 2 == 0 {
                            cluster.commit(id);
                        }
                    }
                }
                9..11 => cluster.flush(id),
                11..15 => cluster.commit(id),
                _ => cluster.start(id),
            }
        }
        cluster.finish();
        let from = cluster.owners.values().filter_map(|owner| owner.rebuilt_from);
        count(&rebuilt, from.filter(|&from| from > 0).count());
        let found = cluster.lines();
        for (place, lines) in &expected {
            let found = found.get(place).map_or(&[][..], Vec::as_slice);
            if place.0 != "shuffle of ev" || place.2 != 4 {
                prop_assert_eq!(found, lines, "{:?}", place);
                count(&other_places, lines.len());
            } else if is_more {
                let missing = lines.len().checked_sub(found.len()).expect("no more than there are");
                prop_assert_eq!(found, &lines[missing..], "{:?}", place);
                for line in &lines[..missing] {
                    let end = line.split_once(", ").and_then(|(_, rest)| rest.split_once(')')).expect("a window").0;
                    let told_ns = through_ns[place.1 as usize];
                    prop_assert!(end.parse::<i64>().expect("a time") <= told_ns, "{line} is missing");
                }
                count(&new, found.len());
                count(&told_before, missing);
            } else {
                prop_assert_eq!(found, &lines[..found.len()], "{:?}", place);
            }
        }
        Ok(())
    });
    let counts = [rebuilt.get(), told_before.get(), new.get(), other_places.get()];
    assert!(
        counts.iter().all(|count| *count > 100),
        "partitions rebuilt, windows told before, new ones, others': {counts:?}"
    );
}
