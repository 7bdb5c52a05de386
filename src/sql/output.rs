//! Rows as a table, JSON lines, CSV, Arrow IPC or Parquet; on standard output, in a file, or in a folder with a file for
//! each name. A file appears under its name only when it is whole, and in the place of another only by `--force`. What
//! fails leaves no file.

mod csv;
mod pages;

use crate::{
    cli::Misuse,
    print,
    topics::{refuse_to_overwrite, unfinished_beside},
};
use amoskys_columns::json_lines;
use anyhow::{Context, Result, bail};
use arrow::{
    array::StringArray,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    ipc::writer::StreamWriter,
    json::LineDelimitedWriter,
    record_batch::RecordBatch,
};
use clap::ValueEnum;
use csv::CsvWriter;
use pages::Pages;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use std::{
    collections::BTreeMap,
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::NamedTempFile;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object per line.
    Json,
    /// A line of names, then a line per row; `win.start` for a part of a column, lists and maps as JSON.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// Compressed with zstd.
    Parquet,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Table => "txt",
            Self::Json => "jsonl",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// By the ending of a file's name.
    fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "txt" => Some(Self::Table),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "arrow" | "arrows" | "ipc" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct Target {
    /// Told by the name of the file, or the kind of standard output, where it is absent.
    pub format: Option<Format>,
    /// A file, or a folder where there are several names.
    pub path: Option<PathBuf>,
    pub force: bool,
}

/// One file, or standard output.
struct Output {
    writer: Writer,
    place: Option<Place>,
    /// Says whose rows they are, where others' come on the same output.
    name: Option<String>,
    rows: usize,
}

/// The unfinished file and its name to be.
struct Place {
    unfinished: NamedTempFile,
    path: PathBuf,
    force: bool,
}

type Sink = Box<dyn Write + Send>;

enum Writer {
    Table(Pages<Sink>),
    Json(LineDelimitedWriter<Sink>),
    Csv(Box<CsvWriter<Sink>>),
    Arrow(StreamWriter<Sink>),
    Parquet(Box<ArrowWriter<Sink>>),
}

/// Rows of one name.
pub struct Named<'a> {
    pub name: &'a str,
    pub schema: &'a SchemaRef,
    /// The file that they go to, whatever the target is.
    pub file: Option<(Format, PathBuf)>,
}

/// Outputs of several names.
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Everything that can be wrong is told before anything is computed.
    pub fn open(target: &Target, all: &[Named<'_>]) -> Result<Self> {
        let names: Vec<&str> = all.iter().filter(|named| named.file.is_none()).map(|named| named.name).collect();
        let is_folder = target.path.as_ref().is_some_and(|path| names.len() > 1 || path.is_dir());
        let named = target.path.as_deref().filter(|_| !is_folder);
        let usual = match (&target.path, named) {
            (None, _) if std::io::stdout().is_terminal() => Format::Table,
            (_, Some(path)) if target.format.is_none() => Format::of_name(path).ok_or_else(|| {
                let endings = Format::value_variants().iter().map(|format| format!(".{}", format.ending()));
                let endings = endings.collect::<Vec<_>>().join(", ");
                Misuse(format!(
                    "{}: how to write it shows in its ending, one of {endings}; or say --format",
                    path.display()
                ))
            })?,
            _ => Format::Json,
        };
        let format = target.format.unwrap_or(usual);
        if target.path.is_none() && format == Format::Parquet && !names.is_empty() {
            bail!(Misuse("--format parquet needs --output FILE".into()));
        }
        if target.path.is_none() && names.len() > 1 && !matches!(format, Format::Table | Format::Json) {
            let (names, ending) = (names.join(", "), format.ending());
            bail!(Misuse(format!("several are asked for ({names}), as {ending} they need --output FOLDER")));
        }
        if let (true, Some(folder)) = (is_folder, &target.path) {
            std::fs::create_dir_all(folder)
                .map_err(|error| Misuse(format!("cannot make the folder {}: {error}", folder.display())))?;
        }
        let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut take = |path: &Path, name: &str| match taken.insert(place_of(path), name.to_owned()) {
            Some(other) => {
                Err(Misuse(format!("`{other}` and `{name}` would go into the same file, {}", path.display())))
            }
            None => Ok(()),
        };
        let mut open = |named: &Named<'_>| {
            let Named { name, schema, file } = named;
            if let Some((format, path)) = file {
                take(path, name)?;
                if !target.force && path.symlink_metadata().is_ok() {
                    bail!(Misuse(format!("{}, the file of `{name}`, exists; overwrite it by --force", path.display())));
                }
                return Output::open(*format, Some(path.clone()), target.force, schema, None);
            }
            let path = target.path.as_ref().map(|path| match is_folder {
                true => path.join(format!("{name}.{}", format.ending())),
                false => path.clone(),
            });
            path.iter().try_for_each(|path| take(path, name))?;
            let name = (names.len() > 1 && path.is_none()).then(|| (*name).to_owned());
            Output::open(format, path, target.force, schema, name)
        };
        Ok(Self(all.iter().map(&mut open).collect::<Result<_>>()?))
    }

    pub fn write(&mut self, index: usize, rows: &RecordBatch) -> Result<()> {
        self.0[index].write(rows)
    }

    /// Shows what is waiting, of a table or JSON.
    pub fn flush(&mut self) -> Result<()> {
        for output in &mut self.0 {
            match &mut output.writer {
                Writer::Table(pages) => pages.flush()?,
                Writer::Json(writer) => writer.get_mut().flush()?,
                Writer::Csv(_) | Writer::Arrow(_) | Writer::Parquet(_) => {}
            }
        }
        Ok(())
    }

    /// Rows of each.
    pub fn close(self) -> Result<Vec<usize>> {
        self.0.into_iter().map(Output::close).collect()
    }
}

impl Output {
    fn open(
        format: Format,
        path: Option<PathBuf>,
        force: bool,
        schema: &SchemaRef,
        name: Option<String>,
    ) -> Result<Self> {
        let place = path.map(|path| place(path, force)).transpose()?;
        let sink: Sink = match &place {
            Some(place) => Box::new(BufWriter::new(place.unfinished.reopen()?)),
            None => Box::new(BufWriter::new(std::io::stdout())),
        };
        let writer = match format {
            Format::Table => {
                let width_max = if place.is_none() { print::terminal_columns() } else { None };
                Writer::Table(Pages::new(sink, schema.clone(), name.clone(), width_max))
            }
            Format::Json => Writer::Json(json_lines(sink)),
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(sink, schema)?)),
            Format::Arrow => Writer::Arrow(StreamWriter::try_new(sink, schema)?),
            Format::Parquet => {
                let properties =
                    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
                Writer::Parquet(Box::new(ArrowWriter::try_new(sink, schema.clone(), Some(properties))?))
            }
        };
        Ok(Self { writer, place, name, rows: 0 })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        match &mut self.writer {
            Writer::Table(pages) => pages.write(rows),
            Writer::Json(writer) => match &self.name {
                Some(name) => writer.write(&with_name(rows, name)?),
                None => writer.write(rows),
            }
            .context("rows cannot be written as JSON"),
            Writer::Csv(writer) => writer.write(rows).context("rows cannot be written as CSV"),
            Writer::Arrow(writer) => writer.write(rows).context("rows cannot be written as Arrow"),
            Writer::Parquet(writer) => writer.write(rows).context("rows cannot be written as Parquet"),
        }
    }

    /// Number of rows written.
    fn close(self) -> Result<usize> {
        match self.writer {
            Writer::Table(pages) => pages.finish()?,
            Writer::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Writer::Csv(writer) => writer.finish()?,
            Writer::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
            Writer::Parquet(writer) => writer.into_inner()?.flush()?,
        }
        if let Some(Place { unfinished, path, force }) = self.place {
            let named = if force { unfinished.persist(&path) } else { unfinished.persist_noclobber(&path) };
            named.map_err(|error| error.error).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(self.rows)
    }
}

/// The same for all ways to write one path.
fn place_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

fn place(path: PathBuf, force: bool) -> Result<Place> {
    refuse_to_overwrite(&path, force)?;
    Ok(Place { unfinished: unfinished_beside(&path)?, path, force })
}

/// `_view` before the columns.
fn with_name(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let field: FieldRef = Arc::new(Field::new("_view", DataType::Utf8, false));
    let names = Arc::new(StringArray::from(vec![name; rows.num_rows()]));
    let fields: Vec<FieldRef> = [field].into_iter().chain(rows.schema().fields().iter().cloned()).collect();
    let columns = [names as _].into_iter().chain(rows.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
