//! What a rehearsal counted, and what it could not decode, as tables that a SELECT may read.

use super::rehearsal::Rehearsal;
use crate::{run::reason_name, sql::Failure};
use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use std::sync::Arc;

/// A row for each stream and partition.
pub const COUNTERS: &str = "counters";
/// A row for each record that could not be decoded.
pub const DEAD_LETTERS: &str = "dead_letters";

/// A row for each expression that could not be computed for some rows.
pub const FAILURES: &str = "failed_expressions";

const COUNTED: [&str; 13] = [
    "records",
    "rows",
    "dead_records",
    "duplicate_records",
    "late_rows",
    "dropped_rows",
    "shed_rows",
    "quarantined_rows",
    "rows_without_time",
    "closed_windows",
    "emitted_rows",
    "failed_expressions",
    "nulled_values",
];

/// # Errors
/// None but faults of this program.
pub fn counters(rehearsal: &Rehearsal<'_>) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let all: Vec<_> = rehearsal.counters().collect();
    let places = [
        ("stream", Arc::new(StringArray::from_iter_values(all.iter().map(|(stream, ..)| *stream))) as ArrayRef),
        ("partition", Arc::new(Int32Array::from_iter_values(all.iter().map(|(_, partition, _)| *partition)))),
    ];
    let numbers: Vec<[u64; COUNTED.len()]> = all
        .iter()
        .map(|(_, _, of)| {
            [
                of.records,
                of.rows,
                of.dead_records,
                of.duplicate_records,
                of.late_rows,
                of.dropped_rows,
                of.shed_rows,
                of.quarantined_rows,
                of.rows_without_time,
                of.closed_windows,
                of.emitted_rows,
                of.failed_expressions,
                of.nulled_values,
            ]
        })
        .collect();
    let counted = COUNTED.iter().enumerate().map(|(index, name)| {
        let of = numbers.iter().map(|numbers| i64::try_from(numbers[index]).unwrap_or(i64::MAX));
        (*name, Arc::new(Int64Array::from_iter_values(of)) as ArrayRef)
    });
    table(places.into_iter().chain(counted))
}

/// # Errors
/// None but faults of this program.
pub fn dead_letters(rehearsal: &Rehearsal<'_>) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let all: Vec<_> = rehearsal.dead().collect();
    let texts =
        |of: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..all.len()).map(of))) as ArrayRef;
    table([
        ("stream", texts(&|row| all[row].0.to_owned())),
        (
            "partition",
            Arc::new(Int32Array::from_iter_values(all.iter().map(|(_, partition, _)| *partition))) as ArrayRef,
        ),
        ("offset", Arc::new(Int64Array::from_iter_values(all.iter().map(|(.., record)| record.offset)))),
        ("reason", texts(&|row| reason_name(all[row].2.reason))),
        ("detail", texts(&|row| all[row].2.detail.clone())),
    ])
}

/// # Errors
/// None but faults of this program.
pub fn failures(rehearsal: &Rehearsal<'_>) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let all = rehearsal.failures();
    let texts =
        |of: &dyn Fn(&Failure) -> String| Arc::new(StringArray::from_iter_values(all.iter().map(of))) as ArrayRef;
    let rows = all.iter().map(|failure| i64::try_from(failure.rows).unwrap_or(i64::MAX));
    table([
        ("query", texts(&|failure| failure.query.clone())),
        ("expression", texts(&|failure| failure.expression.clone())),
        ("rows", Arc::new(Int64Array::from_iter_values(rows))),
        ("example", texts(&|failure| failure.example.clone())),
    ])
}

fn table(
    columns: impl IntoIterator<Item = (&'static str, ArrayRef)>,
) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let (names, columns): (Vec<&str>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let field = |(name, column): (&&str, &ArrayRef)| Field::new(*name, DataType::clone(column.data_type()), false);
    let schema = Arc::new(Schema::new(names.iter().zip(&columns).map(field).collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    Ok((schema, vec![rows]))
}
