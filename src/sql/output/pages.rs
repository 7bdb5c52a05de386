//! Rows as tables of at most [`PAGE_ROWS`] rows, so that any number of them can be printed. What is wider than the terminal is
//! printed row by row, a line for each column that is not null.

use amoskys_pipeline::trial::SHOWN;
use anyhow::Result;
use arrow::{
    compute::concat_batches,
    datatypes::SchemaRef,
    record_batch::RecordBatch,
    util::{display::ArrayFormatter, pretty::pretty_format_batches},
};
use std::io::Write;

const PAGE_ROWS: usize = 1000;

pub struct Pages<W: Write> {
    out: W,
    schema: SchemaRef,
    /// Above each.
    name: Option<String>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    is_printed: bool,
    /// Of the terminal, where it is one.
    width_max: Option<usize>,
    /// Rows that were printed one by one.
    rows_before: usize,
}

impl<W: Write> Pages<W> {
    pub fn new(out: W, schema: SchemaRef, name: Option<String>, width_max: Option<usize>) -> Self {
        let (waiting, waiting_rows, is_printed, rows_before) = (Vec::new(), 0, false, 0);
        Self { out, schema, name, waiting, waiting_rows, is_printed, width_max, rows_before }
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < rows.num_rows() {
            let taken = (rows.num_rows() - from).min(PAGE_ROWS - self.waiting_rows);
            self.waiting.push(rows.slice(from, taken));
            self.waiting_rows += taken;
            from += taken;
            if self.waiting_rows == PAGE_ROWS {
                self.print()?;
            }
        }
        Ok(())
    }

    /// What is waiting.
    pub fn flush(&mut self) -> Result<()> {
        if self.waiting_rows == 0 { Ok(()) } else { self.print() }
    }

    /// Without any row the names of the columns alone.
    pub fn finish(mut self) -> Result<()> {
        if self.waiting_rows == 0 && self.is_printed { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> Result<()> {
        let page = concat_batches(&self.schema, &self.waiting)?;
        self.waiting.clear();
        self.is_printed = true;
        self.waiting_rows = 0;
        if let Some(name) = &self.name {
            writeln!(self.out, "{name}")?;
        }
        let table = pretty_format_batches(std::slice::from_ref(&page))?.to_string();
        let width = table.lines().next().map_or(0, |line| line.chars().count());
        if self.width_max.is_some_and(|most| width > most) && page.num_rows() > 0 {
            self.print_upright(&page)?;
        } else {
            writeln!(self.out, "{table}")?;
        }
        Ok(self.out.flush()?)
    }

    fn print_upright(&mut self, page: &RecordBatch) -> Result<()> {
        let schema = page.schema();
        let widest = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
        let texts = page.columns().iter().map(|column| ArrayFormatter::try_new(column, &SHOWN));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        for row in 0..page.num_rows() {
            writeln!(self.out, "-- row {}", self.rows_before + row + 1)?;
            let there = schema.fields().iter().zip(&texts).zip(page.columns());
            for ((field, text), _) in there.filter(|(_, column)| column.is_valid(row)) {
                writeln!(self.out, "{:<widest$} | {}", field.name(), text.value(row))?;
            }
        }
        self.rows_before += page.num_rows();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use std::sync::Arc;

    #[test]
    fn what_is_wider_than_the_terminal_stands_upright() {
        let fields = [("number", DataType::Int64), ("of", DataType::Utf8)];
        let schema = Arc::new(Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec()));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![5, 6])), Arc::new(StringArray::from(vec![Some("a long text"), None]))];
        let rows = RecordBatch::try_new(schema.clone(), columns).expect("rows");
        let printed = |width_max: Option<usize>| {
            let mut out = Vec::new();
            let mut pages = Pages::new(&mut out, schema.clone(), None, width_max);
            pages.write(&rows).expect("written");
            pages.finish().expect("written");
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(printed(Some(20)), "-- row 1\nnumber | 5\nof     | a long text\n-- row 2\nnumber | 6\n");
        assert_eq!(printed(Some(80)), printed(None));
        assert!(printed(None).starts_with("+--------+"), "{}", printed(None));
    }
}
