//! States as the arrays of DataFusion's accumulators: values of closed windows, and states of panes that are kept
//! elsewhere, there and back.

use super::{
    column::Column,
    input::Values,
    layout::{Kind, Layout, Place, What},
    sealed::Sealed,
};
use arrow::{
    array::{Array, ArrayData, ArrayRef, make_array},
    buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer},
    datatypes::DataType,
};
use datafusion::error::{DataFusionError, Result};

impl Sealed {
    /// A value of each group, for each of the `aggregates` that have a place here; none for the others.
    pub fn values(&self, layout: &Layout, aggregates: &[usize]) -> Result<Vec<Option<ArrayRef>>> {
        let value = |index: &usize| layout.places[*index].as_ref().map(|place| self.value(layout, place)).transpose();
        aggregates.iter().map(value).collect()
    }

    fn value(&self, layout: &Layout, place: &Place) -> Result<ArrayRef> {
        let counts = || self.counts(layout, place.lane);
        match place.what {
            What::Count => self.array_of_counts(layout, place.lane, &place.data_type, None),
            What::Word(at) => array(&place.data_type, &self.columns[at].words(), seen(&counts(), 1)),
            What::Mean(at) => {
                let counts = counts();
                let sums = self.columns[at].words();
                let sums = sums.iter().zip(counts.iter());
                let means = sums.map(|(&sum, &count)| (f64::from_bits(sum) / count as i64 as f64).to_bits());
                array(&place.data_type, &means.collect(), seen(&counts, 1))
            }
            What::Spread { moments, is_sample, is_root } => {
                let (counts, less) = (counts(), u64::from(is_sample));
                let squares = self.columns[moments + 1].words();
                let squares = squares.iter().zip(counts.iter());
                let spreads = squares.map(|(&squares, count)| {
                    let variance = f64::from_bits(squares) / count.saturating_sub(less) as i64 as f64;
                    (if is_root { variance.sqrt() } else { variance }).to_bits()
                });
                array(&place.data_type, &spreads.collect(), seen(&counts, 1 + less))
            }
        }
    }

    /// The state arrays of an aggregate that has a place here.
    pub fn arrays(&self, layout: &Layout, place: &Place) -> Result<Vec<ArrayRef>> {
        let counts = |data_type, nulls| self.array_of_counts(layout, place.lane, data_type, nulls);
        let words = |at: usize, data_type, nulls| array(data_type, &self.columns[at].words(), nulls);
        let nulls = || seen(&self.counts(layout, place.lane), 1);
        let float = &DataType::Float64;
        match place.what {
            What::Count => Ok(vec![counts(&DataType::Int64, None)?]),
            What::Word(at) => Ok(vec![words(at, &place.data_type, nulls())?]),
            What::Mean(at) => Ok(vec![counts(&DataType::UInt64, nulls())?, words(at, float, nulls())?]),
            What::Spread { moments, .. } => Ok(vec![
                counts(&DataType::UInt64, None)?,
                words(moments, float, None)?,
                words(moments + 1, float, None)?,
            ]),
        }
    }

    fn array_of_counts(
        &self,
        layout: &Layout,
        lane: usize,
        data_type: &DataType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        array(data_type, &self.counts(layout, lane), nulls)
    }

    /// States of `groups` as their arrays say; `arrays` are those of each aggregate, others than ours included.
    ///
    /// Of a lane that no count is known of, only whether it saw a value is told: it is given the greatest count that is
    /// known under its filter then, or one.
    pub fn of_arrays(layout: &Layout, arrays: &[Vec<ArrayRef>], groups: usize) -> Result<Self> {
        let mut columns: Vec<Vec<u64>> = layout.blank.iter().map(|&word| vec![word; groups]).collect();
        let mut counts: Vec<Vec<Option<Told>>> = vec![vec![None; groups]; layout.lanes.len()];
        for (place, arrays) in layout.places.iter().zip(arrays) {
            let Some(place) = place else { continue };
            let (told, columns) = (&mut counts[place.lane], &mut columns);
            let mut put = |array: &ArrayRef, at: usize| {
                let values = read(array, Kind::of(array.data_type()), groups)?;
                for group in (0..groups).filter(|&group| array.is_valid(group)) {
                    columns[at][group] = values[group];
                }
                Ok::<(), DataFusionError>(())
            };
            match (place.what, &arrays[..]) {
                (What::Count, [counts]) => tell_counts(told, counts, groups)?,
                (What::Word(at), [values]) => {
                    put(values, at)?;
                    for (group, told) in told.iter_mut().enumerate().filter(|(_, told)| told.is_none()) {
                        *told = Some(if values.is_valid(group) { Told::Some } else { Told::Exactly(0) });
                    }
                }
                (What::Mean(at), [counts, sums]) => {
                    tell_counts(told, counts, groups)?;
                    put(sums, at)?;
                }
                (What::Spread { moments, .. }, [counts, means, squares]) => {
                    tell_counts(told, counts, groups)?;
                    put(means, moments)?;
                    put(squares, moments + 1)?;
                }
                _ => return Err(DataFusionError::Internal("a pane of other aggregates".into())),
            }
        }
        let missing = count_as_told(layout, &counts, &mut columns);
        let columns = columns.into_iter().map(Column::from).collect();
        Ok(Self { groups, columns, missing }.packed(layout))
    }
}

/// Which groups have seen at least so many values; none when all have.
fn seen(counts: &[u64], least: u64) -> Option<NullBuffer> {
    if counts.iter().all(|&count| count >= least) {
        return None;
    }
    Some(NullBuffer::new(BooleanBuffer::collect_bool(counts.len(), |group| counts[group] >= least)))
}

/// Counters such that all lanes have counted what was told, and what is missing of them in each lane.
fn count_as_told(layout: &Layout, told: &[Vec<Option<Told>>], columns: &mut [Vec<u64>]) -> Vec<Vec<u64>> {
    let word = |index: usize| layout.counters[layout.lanes[index].counter].word;
    for (index, told) in told.iter().enumerate() {
        for (counted, told) in columns[word(index)].iter_mut().zip(told) {
            *counted = (*counted).max(match *told {
                Some(Told::Exactly(count)) => count,
                Some(Told::Some) => 1,
                None => 0,
            });
        }
    }
    let missing = told.iter().enumerate().map(|(index, told)| {
        let less = columns[word(index)].iter().zip(told).map(|(&counted, told)| match *told {
            Some(Told::Exactly(count)) => counted - count,
            Some(Told::Some) | None => 0,
        });
        let missing: Vec<u64> = less.collect();
        if missing.iter().any(|&missing| missing > 0) { missing } else { Vec::new() }
    });
    missing.collect()
}

/// What state arrays say of a lane's count.
#[derive(Debug, Clone, Copy)]
enum Told {
    Exactly(u64),
    /// More than none.
    Some,
}

fn tell_counts(told: &mut [Option<Told>], counts: &ArrayRef, groups: usize) -> Result<()> {
    let values = read(counts, Kind::of(counts.data_type()), groups)?;
    for (group, told) in told.iter_mut().enumerate() {
        *told = Some(Told::Exactly(if counts.is_valid(group) { values[group] } else { 0 }));
    }
    Ok(())
}

fn read(array: &ArrayRef, kind: Option<Kind>, groups: usize) -> Result<Vec<u64>> {
    let fault = || DataFusionError::Internal(format!("a state of {}", array.data_type()));
    let values = Values::of(array.as_ref(), kind.ok_or_else(fault)?)?;
    if array.len() != groups {
        return Err(DataFusionError::Internal(format!("{} states of {groups} keys", array.len())));
    }
    let rows: Vec<u32> = (0..groups as u32).collect();
    let mut words = vec![0; groups];
    values.read(&rows, &mut words);
    Ok(words)
}

/// Words as an array of a type that fits into them.
fn array(data_type: &DataType, words: &ScalarBuffer<u64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let buffer = match data_type.primitive_width() {
        Some(1) => Buffer::from_iter(words.iter().map(|&word| word as u8)),
        Some(2) => Buffer::from_iter(words.iter().map(|&word| word as u16)),
        Some(4) => Buffer::from_iter(words.iter().map(|&word| word as u32)),
        _ => words.inner().clone(),
    };
    let data = ArrayData::builder(data_type.clone()).len(words.len()).add_buffer(buffer).nulls(nulls).build()?;
    Ok(make_array(data))
}
