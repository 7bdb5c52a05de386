//! `topics write`: lines of a file or of standard input as records, to try SQL on one's own data.
//!
//! Deliberately not here: envelopes and signatures, which agents write; creating the topic.
//! Limits: lines of [`LINE_BYTES_MAX`]; what the log does not take ends it, with the line's number.

use super::{BusArguments, EXIT_DONE, EXIT_FAILED};
use crate::cli::Misuse;
use amoskys_bus::{DeliveryReport, Outgoing, Producer, ProducerOptions, SendError};
use anyhow::{Context, bail};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const LINE_BYTES_MAX: u64 = 16 << 20;
const POLL: Duration = Duration::from_millis(50);
/// Without any report for so long, the log is taken to be away.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line that is not blank is a record, as it is: what it has to be is said by the SQL that reads the topic. With --key the text of
that field of a JSON object decides the record's partition, as partition_key in SQL does; a line without it has no key.

Exit code 0: all were acknowledged; 1: not all; 2: wrong use.

Examples:
  amoskys topics write acme.logins --from logins.jsonl --key host --bus local:log
  journalctl -o json | amoskys topics write acme.journal --from - --bus kafka://127.0.0.1:9092")]
pub struct WriteArguments {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    bus: BusArguments,
    /// Lines; - is standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// A field of each line's JSON object
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
}

/// Records on their way.
struct Sending {
    producer: Box<dyn Producer>,
    reports: Vec<DeliveryReport>,
    sent: u64,
    acknowledged: u64,
    heard: Instant,
}

pub fn write(arguments: &WriteArguments, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    let mut lines = open(&arguments.from)?;
    let bus = arguments.bus.open(false)?;
    if !bus.topics()?.iter().any(|topic| topic.name == arguments.topic) {
        let topic = &arguments.topic;
        bail!(Misuse(format!("topic `{topic}` does not exist; make it by amoskys topics create {topic}")));
    }
    let producer = bus.producer(&ProducerOptions::default())?;
    let mut sending = Sending { producer, reports: Vec::new(), sent: 0, acknowledged: 0, heard: Instant::now() };
    let (mut line, mut number, mut keyless) = (Vec::new(), 0u64, 0u64);
    while !stop.load(Ordering::Relaxed) {
        line.clear();
        let read = lines.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot be read behind line {number}"))? == 0 {
            break;
        }
        number += 1;
        let payload = line.trim_ascii();
        if payload.len() as u64 > LINE_BYTES_MAX {
            bail!(Misuse(format!("line {number} is longer than {LINE_BYTES_MAX} bytes")));
        }
        if !payload.is_empty() {
            let key = arguments.key.as_deref().and_then(|field| key_of(payload, field));
            keyless += u64::from(arguments.key.is_some() && key.is_none());
            let (topic, payload) = (arguments.topic.clone(), payload.to_vec());
            sending.send(Outgoing { topic, partition: None, key, payload, headers: Vec::new() }, number)?;
        }
    }
    let is_whole = sending.finish(stop)?;
    if let (Some(field), 1..) = (&arguments.key, keyless) {
        tracing::warn!(
            "{keyless} of {} records have no field `{field}`, so no key: they may be in any partition",
            sending.sent
        );
    }
    writeln!(out, "{} of {} records written to {}", sending.acknowledged, sending.sent, arguments.topic)?;
    Ok(if is_whole && !stop.load(Ordering::Relaxed) { EXIT_DONE } else { EXIT_FAILED })
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Misuse(format!("{} cannot be opened: {error}", path.display())))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The field's text; a number's digits.
fn key_of(line: &[u8], field: &str) -> Option<Vec<u8>> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(line).ok()?;
    match object.get(field)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

impl Sending {
    /// Waits while the queue is full. `number`: of the line.
    fn send(&mut self, record: Outgoing, number: u64) -> anyhow::Result<()> {
        let mut record = record;
        loop {
            match self.producer.send(record, number) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err(SendError::QueueFull(back)) => {
                    record = back;
                    self.hear(POLL)?;
                }
                Err(SendError::Failed(error)) => return Err(error).with_context(|| format!("line {number}")),
            }
        }
    }

    fn hear(&mut self, wait: Duration) -> anyhow::Result<()> {
        self.producer.poll(wait, &mut self.reports);
        if !self.reports.is_empty() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > PATIENCE {
            bail!("the log has acknowledged nothing for {} s", PATIENCE.as_secs());
        }
        for DeliveryReport { token, result } in self.reports.drain(..) {
            result.with_context(|| format!("line {token}"))?;
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// Whether all were acknowledged; told to stop it waits no more.
    fn finish(&mut self, stop: &AtomicBool) -> anyhow::Result<bool> {
        self.heard = Instant::now();
        while self.acknowledged < self.sent && !stop.load(Ordering::Relaxed) {
            self.hear(POLL)?;
        }
        Ok(self.acknowledged == self.sent)
    }
}
