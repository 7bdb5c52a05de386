//! How fast one, two and four processors drain what stands in the topic.
//!
//! Counted from the first rows computed to the last, so that starting and joining are not in it. A topic is drained by each
//! number of processors in a group of its own, once before by one whose figures do not count. CPU is of the processors alone.

use crate::{
    PARTITIONS, Stage,
    common::{
        processor::Processor,
        produce,
        telemetry::{iso, record},
    },
};
use amoskys_proto::v1::ProcessEvent;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const EVENTS_PER_RECORD: u64 = 500;
/// Of event time.
const EVENTS_PER_SECOND: u64 = 100_000;
const HOSTS: u64 = 10;
const PROGRAMS: [&str; 5] = ["sh", "cc", "id", "ps", "cat"];
const FIRST_MS: i64 = 1_600_000_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(millions: u64) {
    let stage = Stage::begin();
    let records = millions * 1_000_000 / EVENTS_PER_RECORD;
    produce(stage.bus.as_ref(), (0..records).map(envelope));
    println!("{millions} M events in {records} records of {PARTITIONS} partitions are drained");
    println!("| processors | events/s | CPU-s per million events |\n|---|---|---|");
    drain(&stage, "warm", 1, records * EVENTS_PER_RECORD);
    for processors in [1, 2, 4] {
        let (seconds, cpu_s) = drain(&stage, &format!("drain-{processors}"), processors, records * EVENTS_PER_RECORD);
        let millions = (records * EVENTS_PER_RECORD) as f64 / 1e6;
        println!("| {processors} | {:.2} M | {:.3} |", millions / seconds, cpu_s / millions);
    }
}

/// Seconds and CPU-seconds.
fn drain(stage: &Stage, group: &str, processors: usize, events: u64) -> (f64, f64) {
    let running: Vec<Processor> = (0..processors).map(|_| stage.start(group)).collect();
    let deadline = Instant::now() + PATIENCE;
    let reached = |wanted: u64| {
        loop {
            let rows: u64 = running.iter().map(rows).sum();
            if rows >= wanted {
                return (Instant::now(), running.iter().map(|of| cpu_s(of.id())).sum::<f64>(), rows);
            }
            assert!(Instant::now() < deadline, "{rows} of {events} events were computed");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let (from, cpu_from_s, _) = reached(1);
    let (to, cpu_to_s, rows) = reached(events);
    assert_eq!(rows, events, "each event is computed once");
    running.into_iter().for_each(Processor::terminate);
    ((to - from).as_secs_f64(), cpu_to_s - cpu_from_s)
}

/// Computed until now, by the processor's own count.
fn rows(processor: &Processor) -> u64 {
    let Some((_, page)) = processor.get("/metrics") else { return 0 };
    let line = page.lines().find_map(|line| line.strip_prefix("amoskys_processor_decoded_rows_total "));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// User and system time so far, in the kernel's ticks of 10 ms.
fn cpu_s(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn envelope(number: u64) -> amoskys_bus::Outgoing {
    let partition = number % PARTITIONS as u64;
    let of_partition = number / PARTITIONS as u64;
    let host = format!("h{partition}-{}", of_partition % HOSTS);
    // One time for all events of a record: it is five milliseconds of them.
    let observed_at = iso(FIRST_MS + (number * EVENTS_PER_RECORD * 1_000 / EVENTS_PER_SECOND) as i64).parse().ok();
    let event = |event: u64| ProcessEvent {
        observed_at,
        pid: of_partition as u32,
        exit_code: if event == 0 { 7 } else { 0 },
        comm: PROGRAMS[event as usize % PROGRAMS.len()].into(),
        lifetime_us: number * 31 % 100_000,
        ..Default::default()
    };
    let events = (0..EVENTS_PER_RECORD).map(event).collect();
    record(Some(partition as i32), &host, of_partition / HOSTS + 1, events, None)
}
