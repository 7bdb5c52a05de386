//! Files that streams are joined with: asset lists, threat intelligence. Read into memory, and read again when they
//! change.
//!
//! Rows are joined with what the file said when they were computed: a change shows from the next poll on, and rows that
//! are computed again after a restart are joined with what the file says then. Limits: `BYTES_MAX` in memory; a
//! changed file keeps its columns.

use super::slots::{Slot, SlotTable};
use amoskys_functions::fault::{Fault, refuse};
use arrow::{compute::concat_batches, record_batch::RecordBatch};
use datafusion::{
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    logical_expr::{CreateExternalTable, DdlStatement, LogicalPlan},
    prelude::{DataFrame, SessionContext},
};
use std::{
    collections::BTreeMap,
    fs::Metadata,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Bytes of a file's rows, as columns.
const BYTES_MAX: usize = 1 << 30;

/// A CSV or Parquet file, or a folder of them, as a table.
pub struct StaticTable {
    pub name: String,
    locations: Vec<PathBuf>,
    definition: String,
    rows: DataFrame,
    slot: Arc<Slot>,
    seen: Mutex<Vec<Stamp>>,
}

/// What tells that a file has changed.
#[derive(Debug, PartialEq)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl StaticTable {
    pub fn locations(&self) -> &[PathBuf] {
        &self.locations
    }

    /// What it reads and how, and the columns that the rows have, in words.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// Whether a plan scans it.
    pub fn is_in(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut is_in = false;
        plan.apply_with_subqueries(|node| {
            is_in |= matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == self.name);
            Ok(if is_in { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(is_in)
    }

    /// Reads the file of a `CREATE EXTERNAL TABLE … STORED AS CSV | PARQUET`.
    pub fn read(name: &str, table: Box<CreateExternalTable>) -> Result<Self> {
        let locations = table.locations.iter().map(PathBuf::from).collect::<Vec<_>>();
        if let Some(far) = locations.iter().map(|path| path.display().to_string()).find(|path| path.contains("://")) {
            let fault =
                Fault::new(format!("LOCATION '{far}' is not on this machine, and nothing is fetched from elsewhere"));
            return refuse(fault.help("copy the file here and name its path").at(format!("'{far}'")));
        }
        if let Some(missing) = locations.iter().find(|path| !path.exists()) {
            let fault = Fault::new(format!("LOCATION '{}' of `{name}` is not there", missing.display()));
            let help = "the path is from the folder where this runs";
            return refuse(fault.help(help).at(format!("'{}'", missing.display())));
        }
        let stamps = stamps(&locations);
        let reference = table.name.clone();
        let options: BTreeMap<String, String> = table.options.clone().into_iter().collect();
        let mut definition = format!("{name} {} {locations:?} {options:?}", table.file_type);
        let rows = runtime()?.block_on(async {
            let context = SessionContext::new();
            context.execute_logical_plan(LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table))).await?;
            context.table(reference).await
        })?;
        let batch = collect(&rows)?;
        definition.push_str(&format!(" {:?}", batch.schema().fields()));
        let slot = Slot::new(batch.schema());
        slot.fill(batch);
        Ok(Self { name: name.to_owned(), locations, definition, rows, slot, seen: Mutex::new(stamps) })
    }

    pub fn provider(&self) -> Arc<dyn TableProvider> {
        Arc::new(SlotTable(self.slot.clone()))
    }

    /// Reads the file again if it has changed; whether it has. Rows stay as they were when it cannot be read.
    pub fn refresh(&self) -> Result<bool> {
        let now = stamps(&self.locations);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        // Once for each change, also when it fails: a file that stays bad is told of once.
        *seen = now;
        self.slot.fill(collect(&self.rows)?);
        Ok(true)
    }
}

impl std::fmt::Debug for StaticTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticTable")
            .field("name", &self.name)
            .field("locations", &self.locations)
            .finish_non_exhaustive()
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn collect(rows: &DataFrame) -> Result<RecordBatch> {
    let batches = runtime()?.block_on(rows.clone().collect())?;
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    if bytes > BYTES_MAX {
        return Err(DataFusionError::Plan(format!(
            "the file's rows take {bytes} bytes in memory, more than {BYTES_MAX}"
        )));
    }
    Ok(concat_batches(&Arc::new(rows.schema().as_arrow().clone()), &batches)?)
}

fn stamps(locations: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &Path, metadata: Metadata| Stamp {
        path: path.to_owned(),
        bytes: metadata.len(),
        modified: metadata.modified().ok(),
    };
    let mut found = Vec::new();
    for location in locations {
        let files = location.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        let files = files.chain([location.clone()]);
        found.extend(files.filter_map(|path| Some(stamp(&path, path.metadata().ok()?))));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
