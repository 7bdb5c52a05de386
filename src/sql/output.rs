//! Rows of a view as JSON lines or Parquet. A file appears under its name only when it is whole, and in the place of
//! another only by `--force`. What fails leaves no file.

use super::Format;
use crate::{
    cli::Misuse,
    topics::{refuse_to_overwrite, unfinished_beside},
};
use amoskys_columns::json_lines;
use anyhow::{Context, Result, bail};
use arrow::{datatypes::SchemaRef, json::LineDelimitedWriter, record_batch::RecordBatch};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

pub struct Output {
    writer: Writer,
    place: Option<Place>,
    rows: usize,
}

/// The unfinished file and its name to be.
struct Place {
    unfinished: NamedTempFile,
    path: PathBuf,
    force: bool,
}

enum Writer {
    Json(LineDelimitedWriter<Box<dyn Write>>),
    Parquet(Box<ArrowWriter<File>>),
}

impl Output {
    pub fn open(format: Format, path: Option<&Path>, force: bool, schema: SchemaRef) -> Result<Self> {
        let place = path.map(|path| place(path, force)).transpose()?;
        let file = place.as_ref().map(|place| place.unfinished.reopen()).transpose()?;
        let writer = match (format, file) {
            (Format::Json, None) => {
                Writer::Json(json_lines(Box::new(BufWriter::new(std::io::stdout())) as Box<dyn Write>))
            }
            (Format::Json, Some(file)) => Writer::Json(json_lines(Box::new(BufWriter::new(file)) as Box<dyn Write>)),
            (Format::Parquet, Some(file)) => {
                let properties =
                    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
                Writer::Parquet(Box::new(ArrowWriter::try_new(file, schema, Some(properties))?))
            }
            (Format::Parquet, None) => bail!(Misuse("--format parquet needs --output FILE".into())),
        };
        Ok(Self { writer, place, rows: 0 })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        match &mut self.writer {
            Writer::Json(writer) => writer.write(batch).context("rows cannot be written as JSON"),
            Writer::Parquet(writer) => writer.write(batch).context("rows cannot be written as Parquet"),
        }
    }

    /// Number of rows written.
    pub fn close(self) -> Result<usize> {
        match self.writer {
            Writer::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Writer::Parquet(writer) => drop(writer.close()?),
        }
        if let Some(Place { unfinished, path, force }) = self.place {
            let named = if force { unfinished.persist(&path) } else { unfinished.persist_noclobber(&path) };
            named.map_err(|error| error.error).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(self.rows)
    }
}

fn place(path: &Path, force: bool) -> Result<Place> {
    refuse_to_overwrite(path, force)?;
    Ok(Place { unfinished: unfinished_beside(path)?, path: path.to_owned(), force })
}
