//! Files of records as the log had them: what an export of a topic holds whose content is known by SQL alone, `payload` beside
//! `_partition`, `_offset` and `_log_time`. They are decoded by the stream's format, as live, whatever it is.
//!
//! Deliberately not here: signatures of envelopes, which an export verifies. Limits: Parquet, as exports are.

use super::{
    HistoryError,
    files::HistoryFile,
    lines::{Dead, Unread},
    shape::{LOG_TIME, OFFSET, PARTITION, Shape},
};
use crate::{
    run::decode::{RecordDecoder, Verify},
    sql::{Stream, StreamFlow},
};
use amoskys_bus::Record;
use arrow::{
    array::{Array, AsArray, UInt32Array},
    compute::{cast, take},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::Arc;

const PAYLOAD: &str = "payload";

/// What the log said of each record.
const OF_LOG: [&str; 3] = [PARTITION, OFFSET, LOG_TIME];

/// What decodes the records of a stream.
#[derive(Debug)]
pub(super) struct Records {
    stream: Stream,
    columns: Vec<String>,
}

impl Records {
    pub fn of(flow: &StreamFlow) -> Self {
        let columns = flow.columns.iter().filter(|name| !OF_LOG.contains(&name.as_str())).cloned().collect();
        Self { stream: flow.stream.clone(), columns }
    }

    /// Whether a file that has the columns `there` holds records, and not their rows.
    pub fn are_in(&self, there: &dyn Fn(&str) -> bool) -> bool {
        let is_own = self.stream.columns.column_with_name(PAYLOAD).is_some();
        !is_own && there(PAYLOAD) && !self.columns.iter().any(|name| there(name))
    }

    /// What is read of such a file.
    pub fn wanted(there: &dyn Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
        [PAYLOAD].into_iter().chain(OF_LOG).filter(|name| there(name))
    }
}

/// Records of a file, batch by batch, as rows.
pub(super) struct RecordBatches<B> {
    batches: B,
    decoder: RecordDecoder,
    file: HistoryFile,
    dead: Arc<Dead>,
    records_before: usize,
}

impl<B: Iterator<Item = Result<RecordBatch, ArrowError>>> RecordBatches<B> {
    pub fn new(batches: B, records: &Records, file: &HistoryFile, shape: &Shape) -> Result<Self, HistoryError> {
        let decoder = RecordDecoder::new(&records.stream, &records.columns, 0, Verify::Off);
        let decoder = decoder.map_err(|error| file.refuse(error.to_string()))?;
        Ok(Self { batches, decoder, file: file.clone(), dead: shape.dead().clone(), records_before: 0 })
    }

    /// Names of the columns of its batches, of files that have the columns `there`.
    pub fn names(&self, there: &dyn Fn(&str) -> bool) -> Vec<String> {
        let of_log = OF_LOG.into_iter().filter(|name| there(name)).map(str::to_owned);
        self.decoder.schema().fields().iter().map(|field| field.name().clone()).chain(of_log).collect()
    }

    fn rows(&mut self, records: &RecordBatch) -> Result<RecordBatch, Unread> {
        let somewhere = Unread::Somewhere;
        let payloads = records.column_by_name(PAYLOAD).map(|column| cast(column, &DataType::Binary));
        let payloads = payloads.transpose().map_err(somewhere)?;
        let payloads = payloads.as_ref().map(|column| column.as_binary::<i32>());
        for row in 0..records.num_rows() {
            let payload = payloads.filter(|column| column.is_valid(row)).map_or(&[][..], |column| column.value(row));
            let (topic, headers) = ("", Vec::new());
            // Its place in the batch, by which its rows are found again.
            let offset = row as i64;
            self.decoder.push(&Record { topic, partition: 0, offset, log_time_ms: 0, key: None, payload, headers });
        }
        let (rows, taken, dead) = self.decoder.finish().map_err(somewhere)?;
        let place = |offset: i64| format!("row {}", self.records_before as i64 + offset + 1);
        if let Some(stopped) = self.decoder.stopped() {
            return Err(Unread::At(format!("{}: {}", place(stopped.offset), stopped.detail)));
        }
        for record in dead {
            self.dead.take(&self.file, place(record.offset), record.detail)?;
        }
        self.dead.add_nulled(self.decoder.take_nulled());
        self.records_before += records.num_rows();
        let of_rows = taken.iter().flat_map(|taken| std::iter::repeat_n(taken.offset as u32, taken.rows as usize));
        let of_rows = UInt32Array::from_iter_values(of_rows);
        let (mut fields, mut columns) = (rows.schema().fields().to_vec(), rows.columns().to_vec());
        for name in OF_LOG {
            if let Some(column) = records.column_by_name(name) {
                fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
                columns.push(take(column, &of_rows, None).map_err(somewhere)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(of_rows.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(somewhere)
    }
}

impl<B: Iterator<Item = Result<RecordBatch, ArrowError>>> Iterator for RecordBatches<B> {
    type Item = Result<RecordBatch, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let records = match self.batches.next()? {
                Ok(records) => records,
                Err(error) => return Some(Err(Unread::Somewhere(error))),
            };
            match self.rows(&records) {
                Ok(rows) if rows.num_rows() == 0 => {}
                rows => return Some(rows),
            }
        }
    }
}
