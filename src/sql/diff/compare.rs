//! Rows of both versions side by side: which are new, which are lost, and in which columns others differ.
//!
//! Each version's rows are sorted by all columns, keys first, on disk where they are larger than [`MEMORY_BYTES_MAX`], and gone through
//! together. Rows that are the same in all columns are each other's; of what is left those of equal keys, which differ in the fewest columns first.
//! Limits: rows of one key are held in memory; of each kind as many rows are kept as are shown; alerts are counted by
//! host and day in memory.

use super::spool::{Spool, Table, Tables};
use crate::sql::shown::Shown;
use anyhow::{Context, Result};
use arrow::{
    array::{Array, AsArray, RecordBatch, StringArray},
    compute::{SortOptions, cast},
    datatypes::{DataType, Schema},
    row::{RowConverter, Rows, SortField},
};
use datafusion::{
    execution::{SendableRecordBatchStream, SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use futures::StreamExt;
use std::{cmp::Ordering, collections::BTreeMap, iter::Peekable, ops::AddAssign, sync::Arc, vec};

/// Of each version, while its rows are sorted.
const MEMORY_BYTES_MAX: usize = 256 << 20;
/// Of rows of one key.
const PAIRS_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub before: u64,
    pub after: u64,
    pub new: u64,
    pub lost: u64,
    pub changed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.before += other.before;
        self.after += other.after;
        self.new += other.new;
        self.lost += other.lost;
        self.changed += other.changed;
    }
}

/// Column and value, as it is shown.
pub type Row = Vec<(String, Shown)>;

/// Of one row: what its columns have, before and after.
pub type Change = Vec<(String, Shown, Shown)>;

/// Of one table.
#[derive(Debug, Default)]
pub struct Comparison {
    pub table: String,
    pub counts: Counts,
    /// Of alerts: by detection.
    pub detections: BTreeMap<String, Counts>,
    /// Of alerts: how many there were before and are after, by day and host.
    pub days: BTreeMap<(String, String), (u64, u64)>,
    /// How many rows differ in each column.
    pub columns: BTreeMap<String, u64>,
    pub new: Vec<Row>,
    pub lost: Vec<Row>,
    /// The key, and what differs: column, before, after.
    pub changed: Vec<(Row, Change)>,
}

/// In the order of the tables' names; at most `rows_max` rows of each kind.
pub fn compare(tables: &Tables, before: &Spool, after: &Spool, rows_max: usize) -> Result<Vec<Comparison>> {
    let compare = |(name, table): (&String, &Table)| {
        let paths = [before, after].map(|spool| spool.path(name).display().to_string());
        compare_table(name, table, &paths, (rows_max, MEMORY_BYTES_MAX)).with_context(|| format!("comparing `{name}`"))
    };
    tables.0.iter().map(compare).collect()
}

fn compare_table(
    name: &str,
    table: &Table,
    paths: &[String; 2],
    (rows_max, memory_bytes_max): (usize, usize),
) -> Result<Comparison> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("comparing cannot begin")?;
    let keys = table.keys.iter().cloned();
    let values =
        table.schema.fields().iter().map(|field| field.name().clone()).filter(|name| !table.keys.contains(name));
    let columns: Vec<String> = keys.chain(values).collect();
    let mut sides = Vec::new();
    for path in paths {
        let stream = runtime.block_on(sorted(path, &columns, memory_bytes_max))?;
        sides.push(Side::new(stream, table, &columns)?);
    }
    let mut comparison = Comparison { table: name.to_owned(), ..Comparison::default() };
    loop {
        for side in &mut sides {
            runtime.block_on(side.fill())?;
        }
        let [old, new] = sides.as_mut_slice() else { break };
        let order = match (old.key(), new.key()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let olds = if order.is_le() { runtime.block_on(old.take_key())? } else { Vec::new() };
        let news = if order.is_ge() { runtime.block_on(new.take_key())? } else { Vec::new() };
        comparison.add(olds, news, table, &columns, rows_max)?;
    }
    Ok(comparison)
}

/// The rows of a file by all columns, in the order of [`options`].
async fn sorted(path: &str, columns: &[String], memory_bytes_max: usize) -> Result<SendableRecordBatchStream> {
    let memory = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes_max, 1.0).build_arc()?;
    let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(4096);
    // A part of what there is, for merging what went through files.
    config = config.with_sort_spill_reservation_bytes(memory_bytes_max / 8);
    // Views keep whole pages of a file in memory, each for a few rows.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(memory).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    context.register_parquet("rows", path, ParquetReadOptions::default()).await?;
    let quoted: Vec<String> = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    let order: Vec<String> = quoted.iter().map(|name| format!("{name} ASC NULLS LAST")).collect();
    let query = format!("SELECT {} FROM rows ORDER BY {}", quoted.join(", "), order.join(", "));
    Ok(context.sql(&query).await?.execute_stream().await?)
}

fn options() -> SortOptions {
    SortOptions { descending: false, nulls_first: false }
}

/// A batch of rows, and what orders them.
struct Loaded {
    batch: RecordBatch,
    keys: Rows,
    all: Rows,
    /// Of alerts.
    detections: Option<StringArray>,
    hosts: Option<StringArray>,
    days: Option<StringArray>,
}

/// One version's rows on their way.
struct Side {
    stream: SendableRecordBatchStream,
    keys: usize,
    of_keys: RowConverter,
    of_all: RowConverter,
    is_alerts: bool,
    columns: Vec<String>,
    /// Absent at the end.
    current: Option<(Arc<Loaded>, usize)>,
    is_over: bool,
}

/// One row of a batch.
struct RowRef {
    of: Arc<Loaded>,
    row: usize,
}

impl RowRef {
    fn shown(&self, column: usize) -> Result<Shown> {
        Shown::of(self.of.batch.column(column), self.row)
    }
}

impl Side {
    fn new(stream: SendableRecordBatchStream, table: &Table, columns: &[String]) -> Result<Self> {
        let field = |name: &String| -> Result<SortField> {
            let data_type = Schema::field_with_name(&table.schema, name)?.data_type().clone();
            Ok(SortField::new_with_options(data_type, options()))
        };
        let all = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            stream,
            keys: table.keys.len(),
            of_keys: RowConverter::new(all[..table.keys.len()].to_vec())?,
            of_all: RowConverter::new(all)?,
            is_alerts: table.is_alerts,
            columns: columns.to_vec(),
            current: None,
            is_over: false,
        })
    }

    /// Until there is a row, or no more.
    async fn fill(&mut self) -> Result<()> {
        while !self.is_over && self.current.as_ref().is_none_or(|(loaded, row)| *row >= loaded.batch.num_rows()) {
            self.current = match self.stream.next().await {
                Some(batch) => Some((Arc::new(self.load(batch?)?), 0)),
                None => {
                    self.is_over = true;
                    None
                }
            };
        }
        Ok(())
    }

    fn load(&self, batch: RecordBatch) -> Result<Loaded> {
        let text = |name: &str, through: Option<DataType>| -> Result<Option<StringArray>> {
            let Some(column) = self.columns.iter().position(|column| column == name).filter(|_| self.is_alerts) else {
                return Ok(None);
            };
            let mut column = batch.column(column).clone();
            if let Some(through) = through {
                column = cast(&column, &through)?;
            }
            Ok(Some(cast(&column, &DataType::Utf8)?.as_string().clone()))
        };
        Ok(Loaded {
            keys: self.of_keys.convert_columns(&batch.columns()[..self.keys])?,
            all: self.of_all.convert_columns(batch.columns())?,
            detections: text("detection", None)?,
            hosts: text("host_id", None)?,
            days: text("time", Some(DataType::Date32))?,
            batch,
        })
    }

    fn key(&self) -> Option<&[u8]> {
        self.current.as_ref().map(|(loaded, row)| loaded.keys.row(*row).data())
    }

    /// All rows of the key that is next.
    async fn take_key(&mut self) -> Result<Vec<RowRef>> {
        let Some(key) = self.key().map(<[u8]>::to_vec) else { return Ok(Vec::new()) };
        let mut taken = Vec::new();
        while self.key() == Some(key.as_slice()) {
            if let Some((loaded, row)) = &mut self.current {
                taken.push(RowRef { of: loaded.clone(), row: *row });
                *row += 1;
            }
            self.fill().await?;
        }
        Ok(taken)
    }
}

impl Comparison {
    /// Rows of one key.
    fn add(
        &mut self,
        olds: Vec<RowRef>,
        news: Vec<RowRef>,
        table: &Table,
        columns: &[String],
        rows_max: usize,
    ) -> Result<()> {
        // Both in the order of all columns, so equal ones meet.
        let (mut left_olds, mut left_news) = (Vec::new(), Vec::new());
        let (mut olds, mut news) = (olds.into_iter().peekable(), news.into_iter().peekable());
        let data =
            |rows: &mut Peekable<vec::IntoIter<RowRef>>| rows.peek().map(|row| row.of.all.row(row.row).data().to_vec());
        loop {
            let order = match (data(&mut olds), data(&mut news)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.cmp(&new),
            };
            let old = if order.is_le() { olds.next() } else { None };
            let new = if order.is_ge() { news.next() } else { None };
            match (old, new) {
                (Some(old), Some(_)) => self.count(&old, (true, true), false),
                (old, new) => {
                    left_olds.extend(old);
                    left_news.extend(new);
                }
            }
        }
        let pairs = nearest_pairs(&left_olds, &left_news, columns.len())?;
        for &(old, new) in &pairs {
            self.change(&left_olds[old], &left_news[new], table, columns, rows_max)?;
        }
        let is_left = |at: &usize, of: fn(&(usize, usize)) -> usize| pairs.iter().all(|pair| of(pair) != *at);
        for at in (0..left_olds.len()).filter(|at| is_left(at, |pair| pair.0)) {
            self.count(&left_olds[at], (true, false), false);
            if self.lost.len() < rows_max {
                self.lost.push(whole(&left_olds[at], columns)?);
            }
        }
        for at in (0..left_news.len()).filter(|at| is_left(at, |pair| pair.1)) {
            self.count(&left_news[at], (false, true), false);
            if self.new.len() < rows_max {
                self.new.push(whole(&left_news[at], columns)?);
            }
        }
        Ok(())
    }

    fn change(&mut self, old: &RowRef, new: &RowRef, table: &Table, columns: &[String], rows_max: usize) -> Result<()> {
        self.count(new, (true, true), true);
        let mut differ = Vec::new();
        for (at, name) in columns.iter().enumerate().skip(table.keys.len()) {
            let (before, after) = (old.shown(at)?, new.shown(at)?);
            if before != after {
                *self.columns.entry(name.clone()).or_default() += 1;
                differ.push((name.clone(), before, after));
            }
        }
        if self.changed.len() < rows_max {
            let key = table.keys.iter().enumerate().map(|(at, name)| Ok((name.clone(), new.shown(at)?)));
            self.changed.push((key.collect::<Result<_>>()?, differ));
        }
        Ok(())
    }

    fn count(&mut self, row: &RowRef, (in_old, in_new): (bool, bool), is_changed: bool) {
        let counts = Counts {
            before: in_old.into(),
            after: in_new.into(),
            new: (in_new && !in_old).into(),
            lost: (in_old && !in_new).into(),
            changed: is_changed.into(),
        };
        self.counts += counts;
        let text = |of: &Option<StringArray>| {
            of.as_ref().map(|of| if of.is_valid(row.row) { of.value(row.row) } else { "" }.to_owned())
        };
        if let Some(detection) = text(&row.of.detections) {
            *self.detections.entry(detection).or_default() += counts;
        }
        if let (Some(day), Some(host)) = (text(&row.of.days), text(&row.of.hosts)) {
            let (before, after) = self.days.entry((day, host)).or_default();
            *before += counts.before;
            *after += counts.after;
        }
    }
}

/// Which rows of one key are each other's, by their indices: those that differ in the fewest columns first, else in their order. In
/// their order alone, where there are more than [`PAIRS_MAX`] to choose among.
fn nearest_pairs(olds: &[RowRef], news: &[RowRef], columns: usize) -> Result<Vec<(usize, usize)>> {
    if olds.len().min(news.len()) == 0 || olds.len() * news.len() == 1 || olds.len() * news.len() > PAIRS_MAX {
        return Ok((0..olds.len().min(news.len())).map(|at| (at, at)).collect());
    }
    let shown = |rows: &[RowRef]| -> Result<Vec<Vec<Shown>>> {
        rows.iter().map(|row| (0..columns).map(|column| row.shown(column)).collect()).collect()
    };
    let (shown_olds, shown_news) = (shown(olds)?, shown(news)?);
    let mut all: Vec<(usize, usize, usize)> = Vec::new();
    for (old, before) in shown_olds.iter().enumerate() {
        for (new, after) in shown_news.iter().enumerate() {
            let differ = before.iter().zip(after).filter(|(before, after)| before != after).count();
            all.push((differ, old, new));
        }
    }
    all.sort_unstable();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (_, old, new) in all {
        if pairs.iter().all(|pair| pair.0 != old && pair.1 != new) {
            pairs.push((old, new));
        }
    }
    pairs.sort_unstable();
    Ok(pairs)
}

/// All of a row that is not null.
fn whole(row: &RowRef, columns: &[String]) -> Result<Row> {
    let there = columns.iter().enumerate().filter(|(at, _)| row.of.batch.column(*at).is_valid(row.row));
    there.map(|(at, name)| Ok((name.clone(), row.shown(at)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{Field, Schema},
    };
    use parquet::arrow::ArrowWriter;
    use std::{fs::File, path::Path};

    const ROWS: i64 = 200_000;

    /// Rows in no order, of some 200 bytes each.
    fn write(path: &Path, schema: &Arc<Schema>, value: impl Fn(i64) -> i64) {
        let mut writer =
            ArrowWriter::try_new(File::create(path).expect("made"), schema.clone(), None).expect("a writer");
        for from in (0..ROWS).step_by(10_000) {
            let keys: Vec<i64> = (from..from + 10_000).map(|n| n * 7_919 % ROWS).collect();
            let texts = keys.iter().map(|key| format!("{key:0200}"));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(keys.clone())),
                Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| value(*key)))),
                Arc::new(StringArray::from_iter_values(texts)),
            ];
            writer.write(&RecordBatch::try_new(schema.clone(), columns).expect("a batch")).expect("written");
        }
        writer.close().expect("written");
    }

    #[test]
    fn more_rows_than_memory_holds_are_compared_on_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let fields = [("k", DataType::Int64), ("v", DataType::Int64), ("t", DataType::Utf8)];
        let schema = Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()));
        let paths = ["old", "new"].map(|name| folder.path().join(name).display().to_string() + ".parquet");
        write(Path::new(&paths[0]), &schema, |key| key);
        write(Path::new(&paths[1]), &schema, |key| if key % 1_000 == 0 { -1 } else { key });
        let table = Table { schema, keys: vec!["k".into()], is_alerts: false, filled: &[] };
        // A third of what the rows of one version are.
        let memory_bytes_max = 16 << 20;
        let found = compare_table("t", &table, &paths, (3, memory_bytes_max)).expect("compared");
        let rows = u64::try_from(ROWS).expect("positive");
        assert_eq!(found.counts, Counts { before: rows, after: rows, new: 0, lost: 0, changed: rows / 1_000 });
        assert_eq!(found.columns, BTreeMap::from([("v".to_owned(), rows / 1_000)]));
        let changed: Vec<String> = found.changed.iter().map(|(key, _)| key[0].1.to_string()).collect();
        assert_eq!(changed, ["0", "1000", "2000"]);
    }

    /// As windows that overlap give them.
    #[test]
    fn of_rows_with_one_key_those_are_each_others_that_differ_least() {
        let folder = tempfile::tempdir().expect("a folder");
        let fields = ["k", "start", "failures", "confidence"].map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let write = |name: &str, rows: &[[i64; 4]]| {
            let path = folder.path().join(name);
            let columns =
                (0..4).map(|at| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(row[at])).collect::<Int64Array>()) });
            let batch = RecordBatch::try_new(schema.clone(), columns.collect()).expect("a batch");
            let file = File::create(&path).expect("made");
            let mut writer = ArrowWriter::try_new(file, schema.clone(), None).expect("a writer");
            writer.write(&batch).expect("written");
            writer.close().expect("written");
            path.display().to_string()
        };
        // The second window is lost, and of the third and the first the confidence is another.
        let paths = [
            write("old.parquet", &[[1, 1, 4, 70], [1, 2, 3, 70], [1, 3, 4, 70]]),
            write("new.parquet", &[[1, 1, 4, 80], [1, 3, 4, 80]]),
        ];
        let table = Table { schema: schema.clone(), keys: vec!["k".into()], is_alerts: false, filled: &[] };
        let found = compare_table("t", &table, &paths, (3, MEMORY_BYTES_MAX)).expect("compared");
        assert_eq!(found.counts, Counts { before: 3, after: 2, new: 0, lost: 1, changed: 2 });
        assert_eq!(found.columns, BTreeMap::from([("confidence".to_owned(), 2)]));
        let lost: Vec<String> = found.lost[0].iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(lost, ["k 1", "start 2", "failures 3", "confidence 70"]);
    }
}
