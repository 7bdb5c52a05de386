//! Rows as CSV, whatever their types: parts of a column become columns (`win.start`), lists and maps are JSON, bytes
//! are hex.

use amoskys_columns::json_lines;
use anyhow::{Context, Result};
use arrow::{
    array::{Array, ArrayRef, AsArray, StringBuilder},
    compute::nullif,
    csv::{Writer, WriterBuilder},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use std::{io::Write, sync::Arc};

pub struct CsvWriter<W: Write>(Writer<W>);

impl<W: Write> CsvWriter<W> {
    /// The names are written at once, so that they are there without any row.
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self> {
        let mut writer = Self(WriterBuilder::new().with_header(true).build(out));
        writer.write(&RecordBatch::new_empty(schema.clone()))?;
        Ok(writer)
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut flat = Vec::new();
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            flatten(field.name().clone(), column, &mut flat)?;
        }
        let field = |(name, column): &(String, ArrayRef)| {
            Arc::new(Field::new(name, column.data_type().clone(), true)) as FieldRef
        };
        let schema = Arc::new(Schema::new(flat.iter().map(field).collect::<Vec<_>>()));
        let columns = flat.into_iter().map(|(_, column)| column).collect();
        Ok(self.0.write(&RecordBatch::try_new(schema, columns)?)?)
    }

    pub fn finish(self) -> Result<()> {
        Ok(self.0.into_inner().flush()?)
    }
}

fn flatten(name: String, column: &ArrayRef, flat: &mut Vec<(String, ArrayRef)>) -> Result<()> {
    match column.data_type() {
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            for (field, part) in fields.iter().zip(parts.columns()) {
                // A part is null where the whole is.
                let part = match parts.nulls() {
                    Some(nulls) => nullif(part, &arrow::array::BooleanArray::new(!nulls.inner(), None))?,
                    None => part.clone(),
                };
                flatten(format!("{name}.{}", field.name()), &part, flat)?;
            }
            Ok(())
        }
        kind if kind.is_nested() => {
            flat.push((name, as_json(column)?));
            Ok(())
        }
        _ => {
            flat.push((name, column.clone()));
            Ok(())
        }
    }
}

/// Each value as JSON.
fn as_json(column: &ArrayRef) -> Result<ArrayRef> {
    const BEFORE: &str = "{\"c\":";
    let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
    let mut writer = json_lines(Vec::new());
    writer.write(&RecordBatch::try_new(schema, vec![column.clone()])?)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    let mut values = StringBuilder::new();
    for (row, line) in text.lines().enumerate() {
        let value = line.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix('}'));
        values.append_option(value.filter(|_| column.is_valid(row)));
    }
    Ok(Arc::new(values.finish()))
}
