//! What comes to each place of a query, as far as it is meant: counts, and the rows that come nearest.

use super::{
    question::{Asked, Question},
    written::{Written, rows_meant, written},
};
use crate::{
    cli::Misuse,
    sql::{over, shown::Shown},
};
use amoskys_bus::Bus;
use amoskys_pipeline::{
    run::{Emission, Emitter, History, HistoryOptions, TailError, TailFrom, TailOptions, TailTo, Verify, tail},
    sql::{Dataflow, Probe, ProbePlace, Stream},
};
use amoskys_proto::v1::Alert;
use anyhow::{Context, Result, bail};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// Where rows come from.
pub enum Reading {
    Files(History, HistoryOptions),
    Topics { bus: Arc<dyn Bus>, verify: Verify },
}

/// An INSERT of a dataflow.
pub struct Place {
    pub flow: usize,
    pub insert: usize,
}

/// Of records that gave no rows.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    pub duplicate_records: u64,
    pub dead_records: u64,
    /// The first of them: where they are, and why.
    pub dead: Vec<(String, String)>,
}

/// A row, or a window's row, and how it fares.
pub struct Sample {
    pub window_ns: Option<(i64, i64)>,
    pub row: Vec<(String, Shown)>,
    /// In the order of the probe's conditions.
    pub verdicts: Vec<Verdict>,
    /// How far the values of the first condition that does not hold are apart; infinite where that is no number.
    away: f64,
}

pub struct Verdict {
    pub holds: bool,
    /// Both sides of a comparison.
    pub compared: Option<(Shown, Shown)>,
    /// How far they are apart, where they are numbers or times.
    pub apart: Option<Apart>,
}

/// The second value less the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Apart {
    Number(f64),
    Nanoseconds(i64),
}

impl Apart {
    /// How much, whichever way.
    fn size(self) -> f64 {
        match self {
            Self::Number(number) => number.abs(),
            Self::Nanoseconds(ns) => ns.unsigned_abs() as f64,
        }
    }
}

/// Of two columns of numbers, times or durations, row by row.
enum Differences {
    Numbers(Float64Array),
    Nanoseconds(Int64Array),
}

impl Differences {
    /// `None`: they are of other types.
    fn of(left: &ArrayRef, right: &ArrayRef) -> Result<Option<Self>> {
        let ns = |column: &ArrayRef| -> Result<Option<ArrayRef>> {
            let to = match column.data_type() {
                DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Nanosecond, None),
                DataType::Duration(_) => DataType::Duration(TimeUnit::Nanosecond),
                _ => return Ok(None),
            };
            Ok(Some(cast(&cast(column, &to)?, &DataType::Int64)?))
        };
        if let (Some(left), Some(right)) = (ns(left)?, ns(right)?) {
            let pairs = left.as_primitive::<Int64Type>().iter().zip(right.as_primitive::<Int64Type>());
            return Ok(Some(Self::Nanoseconds(pairs.map(|(left, right)| right?.checked_sub(left?)).collect())));
        }
        if !left.data_type().is_numeric() || !right.data_type().is_numeric() {
            return Ok(None);
        }
        let [left, right] = [cast(left, &DataType::Float64)?, cast(right, &DataType::Float64)?];
        let pairs = left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>());
        Ok(Some(Self::Numbers(pairs.map(|(left, right)| Some(right? - left?)).collect())))
    }

    /// `None`: one is NULL.
    fn at(&self, row: usize) -> Option<Apart> {
        match self {
            Self::Numbers(of) => of.is_valid(row).then(|| Apart::Number(of.value(row))),
            Self::Nanoseconds(of) => of.is_valid(row).then(|| Apart::Nanoseconds(of.value(row))),
        }
    }
}

impl fmt::Display for Apart {
    /// How much, not which way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As many digits as tell something, without those that binary fractions add.
            Self::Number(number) => {
                let number = number.abs();
                let digits = if number == 0.0 { 0 } else { (5 - number.log10().floor() as i32).max(0) };
                let text = format!("{number:.*}", usize::try_from(digits).unwrap_or(0).min(300));
                let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                f.write_str(text)
            }
            Self::Nanoseconds(ns) => humantime::format_duration(Duration::from_nanos(ns.unsigned_abs())).fmt(f),
        }
    }
}

impl Sample {
    pub fn held(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.holds).count()
    }
}

/// What came to one place.
pub struct Seen {
    pub probe: Probe,
    /// Conditions of the question that could be asked there.
    pub applied: Vec<usize>,
    pub rows: u64,
    /// Rows of which every condition holds.
    pub passed: u64,
    /// How many rows each condition holds of.
    pub held: Vec<u64>,
    /// Of a stream's rows: those that were late for a window.
    pub late: u64,
    /// Those that come furthest, at most as many as are shown.
    pub samples: Vec<Sample>,
}

/// Rows of a stream that are in no window, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refused {
    pub rows: u64,
    pub without_time: u64,
    pub ahead: u64,
}

pub struct Gathered {
    pub seen: Vec<Seen>,
    /// Of a log.
    pub written: Option<Written>,
    /// By stream: all rows that are meant, before any is refused.
    pub census: BTreeMap<String, Refused>,
    pub lost: Lost,
    /// What the INSERTs give: id and record.
    records: BTreeMap<String, Vec<u8>>,
}

/// The same streams without their rules, so that every row comes.
pub fn census(mut dataflow: Dataflow) -> Dataflow {
    let streams: Vec<String> = dataflow
        .probes
        .iter()
        .filter(|probe| matches!(probe.place, ProbePlace::Stream(_)))
        .map(|probe| probe.name.clone())
        .collect();
    dataflow.streams.retain(|flow| flow.shuffle.is_none());
    for flow in &mut dataflow.streams {
        flow.stream.event_time = None;
        flow.inserts.retain(|insert| streams.contains(&insert.name));
        (flow.views, flow.panes) = (Vec::new(), Vec::new());
    }
    dataflow.streams.retain(|flow| !flow.inserts.is_empty());
    dataflow
}

/// Everything that the dataflow gives, over all that there is.
pub fn run(
    reading: &Reading,
    dataflow: &Dataflow,
    on_emission: &mut dyn FnMut(Place, &Emission) -> Result<()>,
) -> Result<Lost> {
    let mut result = Ok(());
    let mut take = |flow: usize, emission: Emission| {
        result = on_emission(Place { flow, insert: emission.insert }, &emission);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let lost = match reading {
        Reading::Files(history, options) => {
            let history = over::part_of(history, dataflow);
            let counts = over::files(std::slice::from_ref(dataflow), &history, options, &mut take)?;
            Lost {
                duplicate_records: counts.duplicate_records,
                dead_records: counts.dead_records,
                dead: counts
                    .dead
                    .into_iter()
                    .map(|row| (format!("{}, {}", row.path.display(), row.place), row.reason))
                    .collect(),
            }
        }
        Reading::Topics { bus, verify } => {
            let options = TailOptions { verify: verify.clone(), from: TailFrom::Earliest, to: TailTo::End };
            let counts = tail(bus.as_ref(), dataflow, &options, &AtomicBool::new(false), &mut take).map_err(
                |error| match error {
                    TailError::Bus(error) => anyhow::Error::from(error),
                    error => error.into(),
                },
            )?;
            let place = |(stream, partition, offset, why)| (format!("{stream}/{partition} at {offset}"), why);
            let dead = counts.dead.into_iter().map(place).collect();
            Lost { duplicate_records: counts.duplicate_records, dead_records: counts.dead_records, dead }
        }
    };
    result.map(|()| lost)
}

impl Gathered {
    pub fn gather(
        reading: &Reading,
        dataflow: &Dataflow,
        census: &Dataflow,
        question: &Question,
        samples_max: usize,
    ) -> Result<Self> {
        let mut seen = Vec::new();
        // By flow and INSERT: which probe, and what of the question can be asked there.
        let mut asked: BTreeMap<(usize, usize), (usize, Asked)> = BTreeMap::new();
        let renamed = renamed(dataflow);
        for (number, probe) in dataflow.probes.iter().enumerate() {
            let (flow, insert) = insert_of(dataflow, probe)?;
            let schema = &dataflow.streams[flow].inserts[insert].output;
            let of = Asked::of(question, schema, probe.columns.len(), &renamed)?;
            seen.push(Seen {
                probe: probe.clone(),
                applied: of.applied.clone(),
                rows: 0,
                passed: 0,
                held: vec![0; probe.conditions.len()],
                late: 0,
                samples: Vec::new(),
            });
            asked.insert((flow, insert), (number, of));
        }
        if let Some(index) =
            (0..question.conditions.len()).find(|index| !seen.iter().any(|seen| seen.applied.contains(index)))
        {
            let streams = dataflow.probes.iter().filter(|probe| matches!(probe.place, ProbePlace::Stream(_)));
            let columns: Vec<&str> = streams.flat_map(|probe| &probe.columns).map(String::as_str).collect();
            bail!(Misuse(format!(
                "--where `{}` has a column that is nowhere on the way; the streams have {}",
                question.conditions[index],
                columns.join(", ")
            )));
        }
        let mut emitters = Emitter::without_log_of(dataflow, |_| true)?;
        if let Reading::Topics { bus, .. } = reading {
            spread(bus.as_ref(), &mut emitters)?;
        }
        let mut meant = BTreeMap::new();
        // The question may be in words of what is below.
        let above: BTreeMap<String, String> =
            renamed.iter().map(|(name, below)| (below.clone(), name.clone())).collect();
        for &(flow, insert) in emitters.keys() {
            let output = &dataflow.streams[flow].inserts[insert].output;
            meant.insert((flow, insert), Asked::of(question, output, output.fields().len(), &above)?);
        }
        let (mut records, mut ids) = (BTreeMap::new(), BTreeSet::new());
        let lost = run(reading, dataflow, &mut |place, emission| {
            let key = (place.flow, place.insert);
            if let Some(emitter) = emitters.get(&key) {
                let is_meant = rows_meant(question, meant.get(&key), windows_ns(dataflow), emission)?;
                emitter.encode_each(emission, |rows, record| {
                    let Some((_, id)) = record.headers.first() else { return };
                    let id = String::from_utf8_lossy(id).into_owned();
                    if rows.iter().any(|&row| is_meant.get(row as usize).is_some_and(|is_meant| *is_meant)) {
                        ids.insert(id.clone());
                    }
                    records.insert(id, record.payload);
                })?;
            }
            if let Some((number, of)) = asked.get(&key) {
                seen[*number].add(
                    question,
                    of,
                    &dataflow.streams[place.flow].stream,
                    windows_ns(dataflow),
                    emission,
                    samples_max,
                )?;
            }
            Ok(())
        })?;
        let census = refused(reading, census, dataflow, question)?;
        let written = match reading {
            Reading::Topics { bus, .. } if !ids.is_empty() => Some(written(bus.as_ref(), dataflow, &ids)?),
            _ => None,
        };
        Ok(Self { seen, written, census, lost, records })
    }

    /// Whether an alert is what is computed now, in words.
    pub fn proof(&self, alert: &Alert, payload: &[u8], is_from_log: bool) -> (bool, String) {
        let id = alert.provenance.as_ref().map_or("", |provenance| provenance.id.as_str());
        match self.records.get(id) {
            None => (false, format!("{id} is not among what this SQL gives now")),
            Some(computed) if computed == payload && is_from_log => {
                (true, format!("{id} was computed again, and is what the topic holds, byte for byte"))
            }
            Some(computed) if computed == payload => (true, format!("{id} was computed again")),
            Some(_) => (false, format!("{id} was computed again, and the topic holds another record")),
        }
    }
}

/// Rows that share records share them by their topic's partitions.
fn spread(bus: &dyn Bus, emitters: &mut BTreeMap<(usize, usize), Emitter>) -> Result<()> {
    let there = bus.topics()?;
    for emitter in emitters.values_mut() {
        if let Some(topic) = there.iter().find(|topic| topic.name == emitter.topic()) {
            emitter.spread_over(topic.partitions.max(1));
        }
    }
    Ok(())
}

fn insert_of(dataflow: &Dataflow, probe: &Probe) -> Result<(usize, usize)> {
    let flows = dataflow.streams.iter().enumerate();
    let mut all =
        flows.flat_map(|(flow, of)| of.inserts.iter().enumerate().map(move |(index, insert)| (flow, index, insert)));
    let found = all.find(|(.., insert)| insert.name == probe.name).map(|(flow, index, _)| (flow, index));
    found.context("a probe that was not planned")
}

/// What columns of the result are called below it.
fn renamed(dataflow: &Dataflow) -> BTreeMap<String, String> {
    dataflow.probes.iter().flat_map(|probe| probe.renamed.clone()).collect()
}

fn windows_ns(dataflow: &Dataflow) -> i64 {
    dataflow.streams.iter().map(amoskys_pipeline::sql::StreamFlow::windows_ns).max().unwrap_or(0)
}

/// Rows that are meant, of each stream, and which of them no window sees.
fn refused(
    reading: &Reading,
    census: &Dataflow,
    dataflow: &Dataflow,
    question: &Question,
) -> Result<BTreeMap<String, Refused>> {
    let rules: BTreeMap<&str, &Stream> =
        dataflow.streams.iter().map(|flow| (flow.stream.name.as_str(), &flow.stream)).collect();
    let (mut asked, renamed) = (BTreeMap::new(), renamed(dataflow));
    for probe in census.probes.iter().filter(|probe| matches!(probe.place, ProbePlace::Stream(_))) {
        let (flow, insert) = insert_of(census, probe)?;
        let schema = &census.streams[flow].inserts[insert].output;
        asked.insert((flow, insert), Asked::of(question, schema, probe.columns.len(), &renamed)?);
    }
    let mut found: BTreeMap<String, Refused> = BTreeMap::new();
    run(reading, census, &mut |place, emission| {
        let stream = &census.streams[place.flow].stream;
        let (Some(of), Some(rules)) = (asked.get(&(place.flow, place.insert)), rules.get(stream.name.as_str())) else {
            return Ok(());
        };
        let mask = of.mask(&emission.batch)?;
        let times = rules.event_time.as_ref().and_then(|name| emission.batch.column_by_name(name));
        let log_times = emission.batch.column_by_name("_log_time");
        let time_of = |column: Option<&ArrayRef>, row: usize| {
            column
                .filter(|column| column.is_valid(row))
                .map(|column| column.as_primitive::<TimestampNanosecondType>().value(row))
        };
        let span = question.span_ns(windows_ns(dataflow));
        let refused = found.entry(stream.name.clone()).or_default();
        for row in (0..emission.batch.num_rows()).filter(|&row| mask.value(row)) {
            let (time_ns, log_time_ns) = (time_of(times, row), time_of(log_times, row));
            // What has no time may be meant.
            let known_ns = time_ns.or(log_time_ns);
            if span.zip(known_ns).is_some_and(|((from_ns, to_ns), known_ns)| known_ns < from_ns || known_ns > to_ns) {
                continue;
            }
            refused.rows += 1;
            if rules.event_time.is_some() && time_ns.is_none() {
                refused.without_time += 1;
            }
            let is_ahead = time_ns
                .zip(log_time_ns)
                .is_some_and(|(time_ns, log_time_ns)| time_ns > log_time_ns.saturating_add(rules.rules.max_skew_ns));
            refused.ahead += u64::from(is_ahead);
        }
        Ok(())
    })?;
    Ok(found)
}

impl Seen {
    fn add(
        &mut self,
        question: &Question,
        asked: &Asked,
        stream: &Stream,
        windows_ns: i64,
        emission: &Emission,
        samples_max: usize,
    ) -> Result<()> {
        if emission.window_ns.is_some_and(|window_ns| !question.takes_window(window_ns)) {
            return Ok(());
        }
        let batch = &emission.batch;
        let mask = asked.mask(batch)?;
        // Rows that no window gave have their own time, if they still have it.
        let times = stream.event_time.as_ref().filter(|_| emission.window_ns.is_none()).and_then(|name| {
            let at = self.probe.columns.iter().position(|column| column == name)?;
            batch.column(at).as_primitive_opt::<TimestampNanosecondType>()
        });
        let span = question.span_ns(windows_ns);
        let is_meant = |row: usize| {
            let time_ns = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
            mask.value(row)
                && !span.zip(time_ns).is_some_and(|((from_ns, to_ns), time_ns)| time_ns < from_ns || time_ns > to_ns)
        };
        let late = batch.column_by_name("_late").map(|late| late.as_boolean());
        let holds: Vec<&BooleanArray> =
            self.probe.conditions.iter().map(|condition| batch.column(condition.holds).as_boolean()).collect();
        let holds = |condition: usize, row: usize| holds[condition].is_valid(row) && holds[condition].value(row);
        let conditions = self.probe.conditions.len();
        let differences = self.probe.conditions.iter().map(|condition| match condition.compared {
            Some((left, right)) => Differences::of(batch.column(left), batch.column(right)),
            None => Ok(None),
        });
        let differences: Vec<Option<Differences>> = differences.collect::<Result<_>>()?;
        let apart = |condition: usize, row: usize| differences[condition].as_ref().and_then(|of| of.at(row));
        for row in (0..batch.num_rows()).filter(|&row| is_meant(row)) {
            self.rows += 1;
            let held: Vec<bool> = (0..conditions).map(|condition| holds(condition, row)).collect();
            self.passed += u64::from(held.iter().all(|held| *held));
            self.held.iter_mut().zip(&held).for_each(|(count, held)| *count += u64::from(*held));
            self.late += u64::from(late.is_some_and(|late| late.is_valid(row) && late.value(row)));
            // Those that come furthest: by conditions that hold, then by how far the first other one is away. Of equal ones the first.
            let first_no = held.iter().position(|held| !held);
            let away = first_no.and_then(|condition| apart(condition, row)).map_or(f64::INFINITY, Apart::size);
            let count = held.iter().filter(|held| **held).count();
            let is_behind = |other: &Sample| (other.held(), -other.away) >= (count, -away);
            let last = self.samples.last().filter(|_| self.samples.len() >= samples_max);
            if samples_max == 0 || last.is_some_and(is_behind) {
                continue;
            }
            let apart: Vec<Option<Apart>> = (0..conditions).map(|condition| apart(condition, row)).collect();
            let sample = Sample { away, ..sample(batch, row, emission.window_ns, (&held, &apart), &self.probe)? };
            let at = self.samples.partition_point(is_behind);
            self.samples.insert(at, sample);
            self.samples.truncate(samples_max);
        }
        Ok(())
    }
}

/// A row of a batch as it is shown.
fn sample(
    batch: &arrow::record_batch::RecordBatch,
    row: usize,
    window_ns: Option<(i64, i64)>,
    (held, apart): (&[bool], &[Option<Apart>]),
    probe: &Probe,
) -> Result<Sample> {
    let shown = |column: usize| Shown::of(batch.column(column), row);
    let columns = probe.columns.iter().enumerate().filter(|(at, _)| batch.column(*at).is_valid(row));
    let verdict = |(condition, holds): (usize, &bool)| {
        let compared = probe.conditions[condition].compared;
        let compared = compared.map(|(left, right)| anyhow::Ok((shown(left)?, shown(right)?))).transpose()?;
        Ok(Verdict { holds: *holds, compared, apart: apart[condition] })
    };
    Ok(Sample {
        window_ns,
        row: columns.map(|(at, name)| Ok((name.clone(), shown(at)?))).collect::<Result<_>>()?,
        verdicts: held.iter().enumerate().map(verdict).collect::<Result<_>>()?,
        away: f64::INFINITY,
    })
}
