//! `sequence(time, first, second, …)`: how many of the steps came one after the other.
//!
//! A step is a condition; steps are met by different rows, none earlier than the one before it (rows of one time may stand
//! in any order). The result is the greatest number of steps, from the first on, that were met so, whatever else happened in
//! between: it equals the number of steps when the whole pattern came.
//!
//! A group keeps the time and the conditions of each row that meets any. Bounded: of the rows that meet the same conditions it
//! keeps the `ROWS_KEPT` earliest and the `ROWS_KEPT` latest, a choice that depends on the rows alone and not on how they came. So
//! two steps are always exact, and longer patterns as long as no condition is met by more than twice that.
//! Limits: `STEPS_MAX` steps. Deliberately not here: steps that must not come between, times between steps (the window is
//! the limit).

use super::{Definition, Summary, times_ns};
use crate::{
    aggregate::sketch_bytes::{put_signed, take_signed},
    fault::Fault,
    types::sql_type,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, TimestampNanosecondArray},
    compute::cast,
    datatypes::{DataType, TimestampNanosecondType},
};
use datafusion::common::{Result, ScalarValue};
use std::{ops::Range, sync::Arc};

const STEPS_MAX: usize = 8;
const ROWS_KEPT: usize = 64;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence;

#[derive(Debug, Clone)]
pub struct Steps {
    count: usize,
}

/// Which steps a row meets: the lowest bit is the first.
type Met = u8;

#[derive(Debug, Default)]
pub struct Moments {
    moments: Vec<(i64, Met)>,
    /// How many there may be before some are left out.
    most: usize,
}

impl Definition for Sequence {
    type Summary = Steps;
    const NAME: &'static str = "sequence";
    const USAGE: &'static str =
        "sequence(time, first, second, …), e.g. sequence(observed_at, name = 'memfd_create', name = 'execve')";

    fn returns(types: &[DataType]) -> Result<DataType, Fault> {
        let (time, steps) = match types {
            [time, steps @ ..] if (2..=STEPS_MAX).contains(&steps.len()) => (time, steps),
            _ => return Err(Fault::new(format!("sequence takes a time and 2 to {STEPS_MAX} conditions"))),
        };
        if !matches!(time, DataType::Timestamp(..)) {
            return Err(Fault::new(format!("the time of sequence must be a TIMESTAMP, not {}", sql_type(time))));
        }
        match steps.iter().find(|step| !matches!(step, DataType::Boolean | DataType::Null)) {
            Some(other) => Err(Fault::new(format!("a step of sequence is a condition, not {}", sql_type(other)))),
            None => Ok(DataType::Int64),
        }
    }

    fn summary(types: &[DataType], _: &[Option<ScalarValue>]) -> Result<Steps, Fault> {
        Ok(Steps { count: types.len().saturating_sub(1) })
    }
}

impl Moments {
    fn add(&mut self, time_ns: i64, met: Met) {
        self.moments.push((time_ns, met));
        if self.moments.len() > self.most.max(2 * ROWS_KEPT) {
            self.settle();
            self.most = 2 * self.moments.len();
        }
    }

    /// Sorted by time, and without what is left out.
    fn settle(&mut self) {
        self.moments.sort_unstable_by_key(|&(time_ns, met)| (met, time_ns));
        let mut kept = 0;
        let mut from = 0;
        while from < self.moments.len() {
            let met = self.moments[from].1;
            let to = from + self.moments[from..].partition_point(|moment| moment.1 == met);
            for at in from..to {
                if at - from < ROWS_KEPT || to - at <= ROWS_KEPT {
                    self.moments[kept] = self.moments[at];
                    kept += 1;
                }
            }
            from = to;
        }
        self.moments.truncate(kept);
        self.moments.sort_unstable();
    }

    /// Steps that were met one after the other. Later is never better, so each is met as early as it can be.
    fn reached(&mut self, steps: usize) -> usize {
        self.settle();
        let mut reached = 0;
        for moment in self.moments.chunk_by(|a, b| a.0 == b.0) {
            // Rows of one time meet as many further steps as can each have a row of its own; of rows that are alike no
            // more matter than there are steps.
            let alike = moment.chunk_by(|a, b| a.1 == b.1);
            let rows: Vec<Met> = alike.flat_map(|rows| rows.iter().take(steps)).map(|row| row.1).collect();
            let mut row_of_step = [None; STEPS_MAX];
            let first = reached;
            while reached < steps
                && place(&rows, &mut row_of_step, first..reached, reached, &mut vec![false; rows.len()])
            {
                reached += 1;
            }
        }
        reached
    }
}

/// Finds a row for a step, moving the steps that were placed to other rows where that helps: an augmenting path.
fn place(
    rows: &[Met],
    row_of_step: &mut [Option<usize>; STEPS_MAX],
    placed: Range<usize>,
    step: usize,
    tried: &mut [bool],
) -> bool {
    for (row, met) in rows.iter().enumerate() {
        if met & 1 << step == 0 || std::mem::replace(&mut tried[row], true) {
            continue;
        }
        let holder = placed.clone().find(|&other| row_of_step[other] == Some(row));
        if holder.is_none_or(|other| place(rows, row_of_step, placed.clone(), other, tried)) {
            row_of_step[step] = Some(row);
            return true;
        }
    }
    false
}

impl Summary for Steps {
    type Group = Moments;
    type Rows = (TimestampNanosecondArray, Vec<BooleanArray>);

    fn rows(&self, arguments: &[ArrayRef]) -> Result<(ArrayRef, Self::Rows)> {
        let times = times_ns(&arguments[0])?;
        let truths = |step: &ArrayRef| Ok(cast(step, &DataType::Boolean)?.as_boolean().clone());
        let steps = arguments[1..].iter().map(truths).collect::<Result<_>>()?;
        Ok((times.clone(), (times.as_primitive::<TimestampNanosecondType>().clone(), steps)))
    }

    fn add(&self, group: &mut Moments, (times, steps): &Self::Rows, row: usize) {
        let is_met = |step: &BooleanArray| step.is_valid(row) && step.value(row);
        let met = steps.iter().enumerate().fold(0, |met, (at, step)| met | u8::from(is_met(step)) << at);
        if met != 0 {
            group.add(times.value(row), met);
        }
    }

    fn write(&self, group: &Moments, bytes: &mut Vec<u8>) {
        let mut sorted = Moments { moments: group.moments.clone(), most: 0 };
        sorted.settle();
        let mut before_ns = 0i64;
        for (time_ns, met) in sorted.moments {
            put_signed(bytes, time_ns.wrapping_sub(before_ns));
            bytes.push(met);
            before_ns = time_ns;
        }
    }

    fn merge(&self, group: &mut Moments, mut bytes: &[u8]) -> Option<()> {
        let mut time_ns = 0i64;
        while !bytes.is_empty() {
            time_ns = time_ns.wrapping_add(take_signed(&mut bytes)?);
            let (&met, rest) = bytes.split_first()?;
            group.add(time_ns, met);
            bytes = rest;
        }
        Some(())
    }

    fn heap_bytes(&self, group: &Moments) -> usize {
        group.moments.capacity() * size_of::<(i64, Met)>()
    }

    fn values(&self, groups: &mut [Moments]) -> Result<ArrayRef> {
        let reached = groups.iter_mut().map(|group| group.reached(self.count) as i64);
        Ok(Arc::new(Int64Array::from_iter_values(reached)))
    }
}
