//! Rows of a view as JSON lines or Parquet. A file appears under its name only when it is whole.

use super::Format;
use crate::cli::Misuse;
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

pub struct Output {
    writer: Writer,
    /// The unfinished file and its name to be.
    place: Option<(PathBuf, PathBuf)>,
    rows: usize,
}

enum Writer {
    Json(LineDelimitedWriter<Box<dyn Write>>),
    Parquet(Box<ArrowWriter<File>>),
}

impl Output {
    pub fn open(format: Format, path: Option<&Path>, schema: SchemaRef) -> Result<Self> {
        let place = path.map(|path| {
            let mut unfinished = path.as_os_str().to_owned();
            unfinished.push(".unfinished");
            (PathBuf::from(unfinished), path.to_owned())
        });
        let create = |path: &Path| File::create(path).with_context(|| format!("{} cannot be written", path.display()));
        let writer = match (format, &place) {
            (Format::Json, None) => {
                Writer::Json(json_lines(Box::new(BufWriter::new(std::io::stdout())) as Box<dyn Write>))
            }
            (Format::Json, Some((path, _))) => {
                Writer::Json(json_lines(Box::new(BufWriter::new(create(path)?)) as Box<dyn Write>))
            }
            (Format::Parquet, Some((path, _))) => {
                let properties =
                    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
                Writer::Parquet(Box::new(ArrowWriter::try_new(create(path)?, schema, Some(properties))?))
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
        if let Some((unfinished, path)) = self.place {
            std::fs::rename(&unfinished, &path).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(self.rows)
    }
}
