//! Avro records into rows, and rows into such records: arrow-avro's reader and writer, made to say which record is at fault.
//!
//! A record is written by one version of a schema and read by another, as Avro's schema resolution has it: columns that the
//! writer did not have are null or have the reader's default. Which version wrote a record is a number that the caller knows
//! (a registry's id, or 0 where there is one schema).
//!
//! | Avro | Arrow |
//! |---|---|
//! | `string`, enum | Utf8View |
//! | `bytes` | BinaryView |
//! | `timestamp-*`, `local-timestamp-*` | Timestamp(ns) without zone (UTC) |
//! | the rest | as arrow-avro has it |
//!
//! Deliberately not here: object container files, which carry many records. Limits: [`Limits::record_bytes_max`]; the top is a
//! record; unions of more than null and one type are as SQL engine and sinks take them.

mod versions;

pub use versions::{VersionConflict, merged};

use crate::{gathered::Gathered, limits::Limits};
use arrow::{
    array::{
        ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use arrow_avro::{
    reader::{Decoder, ReaderBuilder},
    schema::{
        AVRO_ENUM_SYMBOLS_METADATA_KEY, AvroSchema as Text, Fingerprint, FingerprintAlgorithm, SCHEMA_METADATA_KEY,
        SchemaStore,
    },
    writer::{WriterBuilder, format::AvroBinaryFormat},
};
use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Records that are decoded at once, as long as all are good.
const GROUP_RECORDS_MAX: usize = 1024;
/// The byte that begins a record whose schema is told by number.
const MAGIC: u8 = 0;

/// A schema cannot be read, or its types have no columns: the fault of whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Avro schema of a record: {0}")]
pub struct AvroSchemaError(String);

/// A record is not what its schema says: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AvroError {
    #[error("a record of {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("schema {id} is not known")]
    UnknownSchema { id: u32 },
    #[error("not Avro of the record's schema: {0}")]
    Malformed(String),
    #[error("the record ends in the middle of a value")]
    Truncated,
    #[error("there is more after the record's value")]
    Trailing,
}

impl AvroError {
    /// Whether a stated bound was exceeded.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// A schema of records, with the columns that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvroSchema {
    text: String,
    columns: SchemaRef,
}

impl AvroSchema {
    pub fn parse(text: &str) -> Result<Self, AvroSchemaError> {
        let wrong = |error: ArrowError| AvroSchemaError(plain_words(&error));
        let writers = BTreeMap::from([(0, text.to_owned())]);
        let fields = catch_unwind(AssertUnwindSafe(|| decoder(text, &writers, 0, None)));
        let fields = fields.map_err(|_| AvroSchemaError("its parts do not fit together".into()))?.map_err(wrong)?;
        let column = |field: &FieldRef| Field::new(field.name(), plain(field.data_type()), field.is_nullable());
        let columns = Schema::new(fields.schema().fields().iter().map(column).collect::<Vec<_>>());
        Ok(Self { text: text.to_owned(), columns: Arc::new(columns) })
    }

    /// As JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }
}

/// The column's type.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, value) => plain(value),
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

fn plain_words(error: &ArrowError) -> String {
    match error {
        ArrowError::ParseError(text) | ArrowError::AvroError(text) | ArrowError::SchemaError(text) => text.clone(),
        other => other.to_string(),
    }
}

fn decoder(
    reader: &str,
    writers: &BTreeMap<u32, String>,
    first: u32,
    projection: Option<&[usize]>,
) -> Result<Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    for (id, text) in writers {
        store.set(Fingerprint::Id(*id), Text::new(text.clone()))?;
    }
    let mut builder = ReaderBuilder::new()
        .with_reader_schema(Text::new(reader.to_owned()))
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(first))
        // One more, so that a second value in the last record is noticed. Texts as views lose their nulls in arrow-avro 59.
        .with_batch_size(GROUP_RECORDS_MAX + 1);
    if let Some(projection) = projection {
        builder = builder.with_projection(projection.to_vec());
    }
    builder.build_decoder()
}

/// Turns Avro records into rows; the shape of [`crate::Decoder`].
#[derive(Debug)]
pub struct AvroDecoder {
    reader: AvroSchema,
    /// What is read of each record: the wanted columns, or one where none is wanted.
    projection: Vec<usize>,
    limits: Limits,
    writers: BTreeMap<u32, String>,
    decoder: Option<(Decoder, u32)>,
    done: Gathered,
    framed: Vec<u8>,
}

impl AvroDecoder {
    /// Reads these columns of the reader's schema, in its order.
    pub fn new(reader: &AvroSchema, columns: &[&str], limits: Limits) -> Self {
        let of_name = |(_, field): &(usize, &FieldRef)| columns.contains(&field.name().as_str());
        let wanted: Vec<usize> =
            reader.columns.fields().iter().enumerate().filter(of_name).map(|(index, _)| index).collect();
        let fields: Vec<FieldRef> = wanted.iter().map(|&index| reader.columns.fields()[index].clone()).collect();
        let projection = if wanted.is_empty() { vec![0] } else { wanted };
        Self {
            reader: reader.clone(),
            projection,
            limits,
            writers: BTreeMap::new(),
            decoder: None,
            done: Gathered::new(Arc::new(Schema::new(fields))),
            framed: Vec::new(),
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        self.done.schema()
    }

    /// Rows since the last [`finish`](AvroDecoder::finish).
    pub fn rows(&self) -> usize {
        self.done.rows()
    }

    pub fn knows(&self, id: u32) -> bool {
        self.writers.contains_key(&id)
    }

    /// Records of this number are written by this schema from now on. An error when the reader's cannot read them.
    pub fn learn(&mut self, id: u32, writer: &str) -> Result<(), AvroSchemaError> {
        let mut writers = self.writers.clone();
        writers.insert(id, writer.to_owned());
        let build = AssertUnwindSafe(|| decoder(&self.reader.text, &writers, id, Some(&self.projection)));
        let built = catch_unwind(build).map_err(|_| AvroSchemaError("its parts do not fit together".into()))?;
        let decoder = built.map_err(|error| AvroSchemaError(plain_words(&error)))?;
        self.writers = writers;
        self.decoder = Some((decoder, id));
        Ok(())
    }

    /// Decodes records, each into one row, and says of each whether it was good; bad ones add nothing.
    pub fn push_all(&mut self, records: &[(u32, &[u8])]) -> Vec<Result<(), AvroError>> {
        let mut results = Vec::with_capacity(records.len());
        for group in records.chunks(GROUP_RECORDS_MAX) {
            if self.group(group).is_ok() {
                results.extend(group.iter().map(|_| Ok(())));
            } else {
                results.extend(group.iter().map(|record| self.group(&[*record])));
            }
        }
        results
    }

    /// The rows since the last call, in the order of their records. An error is a fault of this crate.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.done.finish()
    }

    /// All records or none.
    fn group(&mut self, records: &[(u32, &[u8])]) -> Result<(), AvroError> {
        let read = catch_unwind(AssertUnwindSafe(|| self.read(records)));
        let batches = read.unwrap_or_else(|_| Err(AvroError::Malformed("it points outside of itself".into())));
        if batches.is_err() {
            // The reader keeps what it had read before the fault.
            self.decoder = None;
        }
        batches?.into_iter().for_each(|batch| self.done.add(batch));
        Ok(())
    }

    fn read(&mut self, records: &[(u32, &[u8])]) -> Result<Vec<RecordBatch>, AvroError> {
        let mut batches = Vec::new();
        for &(id, body) in records {
            let (bytes, max) = (body.len(), self.limits.record_bytes_max);
            if bytes > max {
                return Err(AvroError::TooLarge { bytes, max });
            }
            if !self.knows(id) {
                return Err(AvroError::UnknownSchema { id });
            }
            let (mut decoder, active) = match self.decoder.take() {
                Some(decoder) => decoder,
                None => (decoder(&self.reader.text, &self.writers, id, Some(&self.projection)).map_err(malformed)?, id),
            };
            if active != id {
                self.take(&mut decoder, &mut batches)?;
            }
            self.framed.clear();
            self.framed.push(MAGIC);
            self.framed.extend(id.to_be_bytes());
            self.framed.extend_from_slice(body);
            let before = decoder.capacity();
            let read = decoder.decode(&self.framed).map_err(|error| malformed(error.into()))?;
            match before - decoder.capacity() {
                0 => return Err(AvroError::Truncated),
                1 if read == self.framed.len() => {}
                _ => return Err(AvroError::Trailing),
            }
            self.decoder = Some((decoder, id));
        }
        if let Some((mut decoder, id)) = self.decoder.take() {
            self.take(&mut decoder, &mut batches)?;
            self.decoder = Some((decoder, id));
        }
        Ok(batches)
    }

    fn take(&self, decoder: &mut Decoder, batches: &mut Vec<RecordBatch>) -> Result<(), AvroError> {
        let Some(batch) = decoder.flush().map_err(|error| malformed(error.into()))? else { return Ok(()) };
        let column = |field: &FieldRef| -> Result<ArrayRef, ArrowError> {
            let array = batch.column(batch.schema().index_of(field.name())?);
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, field.data_type(), &options)
        };
        let columns: Vec<ArrayRef> =
            self.schema().fields().iter().map(column).collect::<Result<_, _>>().map_err(malformed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        batches.push(RecordBatch::try_new_with_options(self.schema().clone(), columns, &options).map_err(malformed)?);
        Ok(())
    }
}

fn malformed(error: ArrowError) -> AvroError {
    AvroError::Malformed(plain_words(&error))
}

/// Turns rows into Avro records of a schema, without anything in front of them.
#[derive(Debug, Clone)]
pub struct AvroEncoder {
    schema: AvroSchema,
}

impl AvroEncoder {
    pub fn new(schema: &AvroSchema) -> Self {
        Self { schema: schema.clone() }
    }

    /// One record for each row. Columns are found by name, and those that are left out are null.
    ///
    /// # Errors
    /// A column that is left out and not nullable, a value that the schema cannot hold.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        let writers = BTreeMap::from([(0, self.schema.text.clone())]);
        let fields = decoder(&self.schema.text, &writers, 0, None)?.schema().fields().clone();
        let array = |field: &FieldRef| match batch.column_by_name(field.name()) {
            Some(array) => in_schema(field, array),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        };
        let arrays = fields.iter().map(array).collect::<Result<Vec<_>, _>>()?;
        let metadata = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), self.schema.text.clone())]);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let rows = RecordBatch::try_new(schema.clone(), arrays)?;
        let mut encoder = WriterBuilder::new(schema.as_ref().clone()).build_encoder::<AvroBinaryFormat>()?;
        encoder.encode(&rows)?;
        Ok(encoder.flush().iter().map(|row| row.to_vec()).collect())
    }
}

/// The array as arrow-avro's writer takes it.
fn in_schema(field: &Field, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let symbols = field.metadata().get(AVRO_ENUM_SYMBOLS_METADATA_KEY);
    let Some(symbols) = symbols.and_then(|symbols| serde_json::from_str::<Vec<String>>(symbols).ok()) else {
        return cast_with_options(array, field.data_type(), &options);
    };
    // An enum is the places of its symbols.
    let texts = cast_with_options(array, &DataType::Utf8, &options)?;
    let place = |text: Option<&str>| {
        let Some(text) = text else { return Ok(None) };
        let place = symbols.iter().position(|symbol| symbol == text);
        let unknown = || ArrowError::InvalidArgumentError(format!("{:?} has no symbol {text:?}", field.name()));
        place.map(|place| Some(place as i32)).ok_or_else(unknown)
    };
    let places = texts.as_string::<i32>().iter().map(place).collect::<Result<Int32Array, _>>()?;
    Ok(Arc::new(DictionaryArray::new(places, Arc::new(StringArray::from(symbols)))))
}
