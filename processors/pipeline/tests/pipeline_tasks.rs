//! One partition's task over records made by hand: when windows close, which rows count, what becomes of bad records.
//!
//! That neither grouping, restarts nor the clock change results is in `pipeline_repeats.rs`.

mod common;

use amoskys_pipeline::{
    run::{Checkpoint, DeadRecord, Task, Verify},
    sql::{Dataflow, StreamFlow},
};
use amoskys_proto::{
    KeyRing, Signer, Terms,
    v1::{DeadLetterReason, Envelope, EnvelopeHeader, ProcessBatch, ProcessEvent},
};
use common::{BASE_MS, EVENTS, Kept, MS_NS, Out, flush, json, planned, push, run_one_by_one, windows};
use prost::Message;

const COUNTS: &str = "CREATE EXTERNAL TABLE sink (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'sink-topic';
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second');";

fn counts() -> Dataflow {
    planned(&[("a.sql", EVENTS), ("q.sql", COUNTS)])
}

fn event(offset: i64, log_ms: i64, time_ms: i64) -> Kept {
    json(offset, log_ms, Some(time_ms), "a", 1.0, 1)
}

#[test]
fn a_window_closes_when_the_watermark_reaches_its_end() {
    let dataflow = counts();
    let flow = &dataflow.streams[0];
    // Lateness is 1 s: the window [0, 1000) closes with the first row of 2000 ms.
    let (_, out) = run_one_by_one(flow, &[event(0, 0, 0), event(1, 1, 1999)]);
    assert_eq!(windows(&out.emissions), vec![]);
    let (task, out) = run_one_by_one(flow, &[event(0, 0, 0), event(1, 1, 1999), event(2, 2, 2000)]);
    assert_eq!(windows(&out.emissions), vec![(0, 1000, 1)]);
    assert_eq!(task.core.watermark().time_ns, (BASE_MS + 1000) * MS_NS);
    let evidence = &out.emissions[0].evidence[0];
    assert_eq!((evidence.topic.as_str(), evidence.partition), ("ev-topic", 3));
    assert_eq!((evidence.first_offset, evidence.last_offset), (0, 0));
}

#[test]
fn a_gap_in_log_time_longer_than_idle_closes_before_the_next_row() {
    let dataflow = counts();
    let flow = &dataflow.streams[0];
    // Idle is 5 s. The row after the gap is of the old window: within the gap it counts, behind it is dropped.
    let (_, out) = run_one_by_one(flow, &[event(0, 0, 0), event(1, 5000, 500)]);
    assert_eq!(windows(&out.emissions), vec![], "a gap of exactly idle is none");
    let (task, out) = run_one_by_one(flow, &[event(0, 0, 0), event(1, 7000, 500)]);
    assert_eq!(windows(&out.emissions), vec![(0, 1000, 1)]);
    assert_eq!(task.core.watermark().time_ns, (BASE_MS + 7000 - 5000 - 1000) * MS_NS);
    assert_eq!((task.core.counters.late_rows, task.core.counters.dropped_rows), (1, 1));
    // A record that cannot be read has a log time all the same.
    let poison = Kept { payload: b"{".to_vec(), ..event(1, 7000, 0) };
    let (_, out) = run_one_by_one(flow, &[event(0, 0, 0), poison]);
    assert_eq!((windows(&out.emissions), out.dead.len()), (vec![(0, 1000, 1)], 1));
}

#[test]
fn rows_ahead_of_the_log_or_without_time_are_taken_out() {
    let dataflow = counts();
    let flow = &dataflow.streams[0];
    let records = [
        event(0, 0, 100),
        event(1, 0, 60_001),
        json(2, 0, None, "a", 1.0, 1),
        event(3, 0, 200),
        event(4, 0, 60_000), // exactly max_skew ahead is believed
    ];
    let (task, out) = run_one_by_one(flow, &records);
    let counters = task.core.counters;
    assert_eq!((counters.quarantined_rows, counters.rows_without_time, counters.rows), (1, 1, 3));
    assert_eq!((counters.records, counters.dead_records), (5, 0));
    assert_eq!(windows(&out.emissions), vec![(0, 1000, 1)]);
    assert_eq!(out.emissions[0].batch.column(1).as_ref(), &arrow::array::Int64Array::from(vec![2]));
}

#[test]
fn a_late_row_counts_where_a_window_is_open_still() {
    let hop = COUNTS.replace("tumble(t, INTERVAL '1 second')", "hop(t, INTERVAL '1 second', INTERVAL '2 seconds')");
    let dataflow = planned(&[("a.sql", EVENTS), ("q.sql", &hop)]);
    let flow = &dataflow.streams[0];
    // The watermark is 1500: [-1000, 1000) is closed, [0, 2000) is not.
    let records = [event(0, 0, 2500), event(1, 0, 900), event(2, 0, -1500), event(3, 0, 9000)];
    let (task, out) = run_one_by_one(flow, &records);
    assert_eq!((task.core.counters.late_rows, task.core.counters.dropped_rows), (2, 1));
    assert_eq!(windows(&out.emissions), vec![(0, 2000, 1), (1000, 3000, 1), (2000, 4000, 1)]);
}

#[test]
fn bad_json_between_good_is_set_aside_and_nothing_else() {
    let dataflow = counts();
    let flow = &dataflow.streams[0];
    let mut records: Vec<Kept> = (0..40).map(|offset| event(offset, 0, 10 * offset)).collect();
    let bad: [(usize, Vec<u8>); 6] = [
        (0, b"".to_vec()),
        (7, b"{\"t\": ".to_vec()),
        (8, b"[1, 2]".to_vec()),
        (20, b"{\"t\": 1, \"k\": {}}".to_vec()),
        (21, [records[21].payload.clone(), records[21].payload.clone()].concat()),
        (39, b"\xff\xfe".to_vec()),
    ];
    for (index, payload) in &bad {
        records[*index].payload.clone_from(payload);
    }
    records.push(Kept { payload: vec![b' '; (16 << 20) + 1], ..event(40, 0, 0) });
    records.push(event(41, 0, 5000));
    let mut task = common::task(flow, Checkpoint::start(0));
    let mut out = Out::default();
    records.iter().for_each(|record| push(&mut task, flow, record, &mut out));
    flush(&mut task, flow, &mut out);
    let offsets: Vec<i64> = out.dead.iter().map(|dead| dead.offset).collect();
    assert_eq!(offsets, [0, 7, 8, 20, 21, 39, 40]);
    let (last, malformed) = out.dead.split_last().expect("seven");
    assert_eq!(last.reason, DeadLetterReason::TooLarge);
    assert!(malformed.iter().all(|dead| dead.reason == DeadLetterReason::Malformed), "{malformed:?}");
    assert_eq!(malformed[1].payload, bad[1].1);
    assert_eq!((malformed[1].key.as_slice(), malformed[1].log_time_ms), (b"key".as_slice(), BASE_MS));
    assert_eq!(out.emissions[0].batch.column(1).as_ref(), &arrow::array::Int64Array::from(vec![34]));
    assert_eq!(task.core.next_offset(), 42);
}

/// Milliseconds and seconds since 1970, as most logs have them, are the same times as RFC 3339.
#[test]
fn an_event_time_counts_what_its_column_says() {
    for (declared, number) in [
        ("TIMESTAMP(3)", 1_700_000_040_500i64),
        ("TIMESTAMP(0)", 1_700_000_040),
        ("TIMESTAMP", 1_700_000_040_500_000_000),
    ] {
        let events = EVENTS.replace("t TIMESTAMP", &format!("t {declared}"));
        let dataflow = planned(&[("a.sql", &events), ("q.sql", COUNTS)]);
        let flow = &dataflow.streams[0];
        let record = |offset: i64, time: String| Kept {
            payload: format!("{{\"t\":{time},\"k\":\"a\"}}").into_bytes(),
            ..event(offset, offset, 0)
        };
        let records = [
            record(0, number.to_string()),
            record(1, "\"2023-11-14T22:14:00.700Z\"".into()),
            record(2, "\"2023-11-14T22:14:09Z\"".into()),
        ];
        let (task, out) = run_one_by_one(flow, &records);
        assert_eq!(windows(&out.emissions), vec![(0, 1000, 1)], "{declared}");
        assert_eq!(out.emissions[0].batch.column(1).as_ref(), &arrow::array::Int64Array::from(vec![2]), "{declared}");
        assert_eq!(task.core.counters.rows, 3);
        // A number that has no place in nanoseconds is a record that does not decode.
        let (_, out) = run_one_by_one(flow, &[record(0, i64::MAX.to_string())]);
        assert_eq!(out.dead.len(), usize::from(declared != "TIMESTAMP"), "{declared}");
    }
}

const PROCESSES: &str = "CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '1s', idle '5s', partition_key 'host_id');
CREATE EXTERNAL TABLE sink (host_id VARCHAR, c BIGINT, pids BIGINT) STORED AS JSON LOCATION 'sink-topic';
INSERT INTO sink SELECT host_id, count(*) AS c, sum(pid) AS pids FROM processes
GROUP BY host_id, tumble(observed_at, INTERVAL '1 second');";

/// An envelope's content: one event for each time, with pids 1, 2, 3 …
fn batch(times_ms: &[i64]) -> Vec<u8> {
    let events = times_ms.iter().zip(1..).map(|(time_ms, pid)| ProcessEvent {
        observed_at: Some(prost_types::Timestamp {
            seconds: (BASE_MS + time_ms).div_euclid(1000),
            nanos: ((BASE_MS + time_ms).rem_euclid(1000) * MS_NS) as i32,
        }),
        pid,
        ..Default::default()
    });
    ProcessBatch { events: events.collect() }.encode_to_vec()
}

fn header(sequence: u64) -> EnvelopeHeader {
    EnvelopeHeader {
        agent_id: "agent".into(),
        host_id: "host".into(),
        sequence,
        schema: "amoskys.v1.ProcessBatch".into(),
        ..Default::default()
    }
}

fn sealed(signer: &Signer, offset: i64, payload: Vec<u8>) -> Kept {
    let payload = signer.seal(header(offset as u64), payload.into()).encode_to_vec();
    Kept { offset, log_ms: BASE_MS, payload }
}

fn run_envelopes(records: &[Kept], verify: Verify) -> (Task, Out) {
    let dataflow = planned(&[("p.sql", PROCESSES)]);
    let flow = &dataflow.streams[0];
    let mut out = Out::default();
    let mut task = run_from(flow, records, verify, Checkpoint::start(0), &mut out);
    task.core.close_all(flow, &mut out.emissions).expect("closes");
    (task, out)
}

/// Reads on from a checkpoint; windows that are open stay so.
fn run_from(flow: &StreamFlow, records: &[Kept], verify: Verify, checkpoint: Checkpoint, out: &mut Out) -> Task {
    let mut task = Task::new(flow, "amoskys.telemetry.process.v1", 3, verify, checkpoint, None).expect("a task");
    let wanted = records.iter().filter(|record| record.offset >= checkpoint.replay.offset);
    wanted.for_each(|record| push(&mut task, flow, record, out));
    flush(&mut task, flow, out);
    task
}

fn reasons(dead: &[DeadRecord]) -> Vec<(i64, DeadLetterReason)> {
    dead.iter().map(|dead| (dead.offset, dead.reason)).collect()
}

#[test]
fn each_bad_envelope_is_a_dead_letter_with_its_reason_and_the_good_ones_count() {
    let (signer, stranger) = (Signer::generate().expect("random"), Signer::generate().expect("random"));
    let mut records: Vec<Kept> =
        (0..40).map(|offset| sealed(&signer, offset, batch(&[offset, 1000 + offset]))).collect();
    let unsigned =
        Envelope { header: header(1).encode_to_vec().into(), payload: batch(&[1]).into(), ..Default::default() };
    records[1].payload = unsigned.encode_to_vec();
    let last = records[2].payload.len() / 2;
    records[2].payload[last] ^= 1;
    records[3] = sealed(&stranger, 3, batch(&[1]));
    records[17].payload = b"not an envelope".to_vec();
    records[18] = sealed(&signer, 18, b"\xff\xff".to_vec());
    let other = EnvelopeHeader { schema: "amoskys.v1.AgentStatusBatch".into(), ..header(19) };
    records[19].payload = signer.seal(other, batch(&[1]).into()).encode_to_vec();
    // 65,536 events are the most that one record may hold.
    records[20] = sealed(&signer, 20, batch(&vec![1; (1 << 16) + 1]));
    records[21] = sealed(&signer, 21, Vec::new());
    let ring = KeyRing::of([signer.public()]);
    let (task, out) = run_envelopes(&records, Verify::by(ring));
    let bad = [
        (1, DeadLetterReason::Unsigned),
        (2, DeadLetterReason::BadSignature),
        (3, DeadLetterReason::UnknownKey),
        (17, DeadLetterReason::Malformed),
        (18, DeadLetterReason::Malformed),
        (19, DeadLetterReason::SchemaMismatch),
        (20, DeadLetterReason::TooLarge),
    ];
    assert_eq!(reasons(&out.dead), bad);
    assert_eq!((task.core.counters.rows, task.core.counters.dead_records), (64, 7));
    assert_eq!(windows(&out.emissions), vec![(0, 1000, 1), (1000, 2000, 1)]);
    for (emission, pids) in out.emissions.iter().zip([32, 64]) {
        assert_eq!(emission.batch.column(1).as_ref(), &arrow::array::Int64Array::from(vec![32]));
        assert_eq!(emission.batch.column(2).as_ref(), &arrow::array::Int64Array::from(vec![pids]));
        assert_eq!((emission.evidence[0].first_offset, emission.evidence[0].last_offset), (0, 39));
    }
    // Without verification the signature does not matter; the rest does.
    let (_, out) = run_envelopes(&records[..20], Verify::Off);
    let offsets: Vec<i64> = out.dead.iter().map(|dead| dead.offset).collect();
    assert!(!offsets.contains(&1) && !offsets.contains(&3) && offsets.ends_with(&[17, 18, 19]), "{offsets:?}");
}

/// A revocation that comes to be known after its time: a restart refuses what was counted and is read again, and goes on.
#[test]
fn a_late_revocation_takes_its_rows_out_of_open_windows_at_a_restart() {
    let (good, stolen) = (Signer::generate().expect("random"), Signer::generate().expect("random"));
    let record = |n: i64| Kept {
        log_ms: BASE_MS + n * 10,
        ..sealed(if n % 2 == 0 { &good } else { &stolen }, n, batch(&[n * 10]))
    };
    let records: Vec<Kept> = (1..=60).map(record).collect();
    let before = || Verify::by(KeyRing::of([good.public(), stolen.public()]));
    let after = || {
        let mut ring = KeyRing::of([good.public()]);
        let revoked = Terms { revoked_from_ms: Some(BASE_MS + 200), ..Terms::default() };
        assert!(ring.insert(stolen.public(), &revoked));
        Verify::by(ring)
    };
    let dataflow = planned(&[("p.sql", PROCESSES)]);
    let flow = &dataflow.streams[0];
    for cut in 1..records.len() {
        let mut out = Out::default();
        let first = run_from(flow, &records[..cut], before(), Checkpoint::start(0), &mut out);
        let checkpoint = first.core.checkpoint().expect("not replaying");
        let mut second = run_from(flow, &records, after(), checkpoint, &mut out);
        second.core.close_all(flow, &mut out.emissions).expect("closes");
        let refused: Vec<i64> = out.dead.iter().map(|dead| dead.offset).collect();
        let expected: Vec<i64> = (21..=59).step_by(2).filter(|offset| *offset > cut as i64).collect();
        assert_eq!(refused, expected, "restarted before record {cut}: each once, what was done is not done again");
        assert!(out.dead.iter().all(|dead| dead.reason == DeadLetterReason::RevokedKey));
        assert_eq!(windows(&out.emissions), vec![(0, 1000, 1)], "restarted before record {cut}");
        let count = arrow::array::Int64Array::from(vec![40]);
        assert_eq!(out.emissions[0].batch.column(1).as_ref(), &count, "restarted before record {cut}");
    }
}

#[test]
fn an_envelope_that_comes_again_counts_once_also_after_a_restart() {
    let signer = Signer::generate().expect("random");
    // Sequences are 1 to 20; then 15 to 20 come again, as after an agent's restart, and 21.
    let mut records: Vec<Kept> = (1..=20).map(|n| sealed(&signer, n, batch(&[n * 10]))).collect();
    for (offset, n) in (21..).zip(15..=20) {
        records.push(Kept { offset, ..sealed(&signer, n, batch(&[n * 10])) });
    }
    records.push(Kept { offset: 27, ..sealed(&signer, 21, batch(&[5000])) });
    let sealed_by = || Verify::by(KeyRing::of([signer.public()]));
    let (task, out) = run_envelopes(&records, sealed_by());
    assert_eq!((task.core.counters.rows, task.core.counters.duplicate_records), (21, 6));
    let counts = |out: &Out| -> Vec<String> {
        out.emissions
            .iter()
            .map(|emission| format!("{:?} {:?}", emission.window_ns, emission.batch.column(1)))
            .collect()
    };
    let undisturbed = counts(&out);
    assert!(!undisturbed.is_empty());
    let dataflow = planned(&[("p.sql", PROCESSES)]);
    let flow = &dataflow.streams[0];
    for cut in 1..records.len() {
        let mut out = Out::default();
        let first = run_from(flow, &records[..cut], sealed_by(), Checkpoint::start(0), &mut out);
        let checkpoint = first.core.checkpoint().expect("not replaying");
        let mut second = run_from(flow, &records, sealed_by(), checkpoint, &mut out);
        second.core.close_all(flow, &mut out.emissions).expect("closes");
        assert_eq!(counts(&out), undisturbed, "restarted before record {cut}");
    }
    // What could not be used is not known: it may come again as it should be.
    let broken = Kept { offset: 2, ..sealed(&signer, 2, b"\xff\xff".to_vec()) };
    let again = Kept { offset: 3, ..sealed(&signer, 2, batch(&[20])) };
    let (task, out) = run_envelopes(&[records[0].clone(), broken, again], sealed_by());
    assert_eq!((task.core.counters.rows, task.core.counters.duplicate_records, out.dead.len()), (2, 0, 1));
}

#[test]
fn what_envelope_and_log_say_are_columns() {
    let sql = "CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '1s', partition_key 'host_id');
CREATE EXTERNAL TABLE sink (a VARCHAR, h VARCHAR, s BIGINT, p INT, o BIGINT, l TIMESTAMP, pid BIGINT)
STORED AS JSON LOCATION 'sink-topic';
INSERT INTO sink (a, h, s, p, o, l, pid) SELECT agent_id, host_id, sequence, _partition, _offset, _log_time, pid
FROM processes WHERE pid <> 2;";
    let dataflow = planned(&[("p.sql", sql)]);
    let flow = &dataflow.streams[0];
    let signer = Signer::generate().expect("random");
    let records = [sealed(&signer, 8, batch(&[0, 1, 2])), sealed(&signer, 9, batch(&[3]))];
    let (task, out) = run_one_by_one(flow, &records);
    let rows: Vec<String> = common::lines(flow, &out.emissions).remove(0);
    let log = "2023-11-14T22:14:00";
    assert_eq!(
        rows,
        [
            format!("None (3, 8, 8) agent host 8 3 8 {log} 1"),
            format!("None (3, 8, 8) agent host 8 3 8 {log} 3"),
            format!("None (3, 9, 9) agent host 9 3 9 {log} 1"),
        ]
    );
    assert_eq!((task.core.counters.rows, task.core.counters.emitted_rows), (4, 3));
}
