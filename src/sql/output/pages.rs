//! Rows as tables of at most [`PAGE_ROWS`] rows, so that any number of them can be printed.

use anyhow::Result;
use arrow::{
    compute::concat_batches, datatypes::SchemaRef, record_batch::RecordBatch, util::pretty::pretty_format_batches,
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
}

impl<W: Write> Pages<W> {
    pub fn new(out: W, schema: SchemaRef, name: Option<String>) -> Self {
        Self { out, schema, name, waiting: Vec::new(), waiting_rows: 0, is_printed: false }
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
        writeln!(self.out, "{}", pretty_format_batches(&[page])?)?;
        Ok(self.out.flush()?)
    }
}
