//! `sql fit`: the statistics of a view's columns over history, for `normalise` and `one_hot`.
//!
//! Deliberately not here: which columns a model wants. Limits: the first `COUNTED_MAX` distinct values of a column of text are
//! counted.

use super::{Planning, outlet::Outlets, over};
use crate::{
    cli::{DONE, Misuse},
    print::{self, Format, counted},
};
use amoskys_functions::fitted::{CATEGORIES_MAX, Moments, Statistics};
use amoskys_pipeline::sql::{Wanted, fitted_text};
use anyhow::{Context, Result, bail};
use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Float64Type},
    record_batch::RecordBatch,
};
use clap::Args;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
};

/// Distinct values of a text column that are counted; further ones are not.
const COUNTED_MAX: usize = 100_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Of every column of numbers: its mean and standard deviation. Of every column of text: the values that come most
often. SQL uses them as

  normalise('fitted.json', 'calls', calls)   how many standard deviations from the mean
  one_hot('fitted.json', 'comm', comm)       a list with a one in the value's place, the last for all others

Example:
  amoskys sql fit sql --from processes=processes.parquet --view process_activity --output fitted.json")]
pub struct Command {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// What a stream is read from; may be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = over::source, required = true)]
    from: Vec<(String, PathBuf)>,
    #[command(flatten)]
    sorting: over::Sorting,
    /// The view whose columns are looked at.
    #[arg(long, value_name = "NAME")]
    view: String,
    /// The file of statistics.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// How many values of a column of text have a place of their own.
    #[arg(long, value_name = "N", default_value = "32")]
    categories: NonZeroUsize,
    /// Overwrite the file if it exists.
    #[arg(long)]
    force: bool,
    /// How it is told what was written: a line on standard error, or an object on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

/// Of one column, so far.
enum Seen {
    /// By Welford's method: how many, their mean, the sum of squares about it.
    Numbers(u64, f64, f64),
    Texts(HashMap<String, u64>),
}

pub fn fit(command: &Command) -> Result<u8> {
    if command.categories.get() > CATEGORIES_MAX {
        bail!(Misuse(format!("--categories {}: at most {CATEGORIES_MAX}", command.categories)));
    }
    if command.output.exists() && !command.force {
        bail!(Misuse(format!("{} exists; overwrite it by --force", command.output.display())));
    }
    let planning = Planning::new(&command.sql, &command.models, Wanted::Rows(vec![command.view.clone()]));
    // One after the other, so that sums of floats are the same each time.
    let dataflows = planning.planned_for(1)?;
    let mut outlets = Outlets::some_of(&dataflows[0])?;
    let (mut columns, mut rows, mut failed) = (BTreeMap::new(), 0, Ok(()));
    let history = over::history(&command.from);
    over::files(&dataflows, &history, &command.sorting.options(), &mut |flow, emission| {
        failed = outlets.rows(flow, &emission).and_then(|(_, batch)| {
            rows += batch.num_rows();
            see(&mut columns, &batch)
        });
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    if rows == 0 {
        bail!(Misuse(format!("`{}` has no rows over these files", command.view)));
    }
    let statistics = statistics(columns, command.categories.get());
    std::fs::write(&command.output, fitted_text(&statistics))
        .with_context(|| format!("{} cannot be written", command.output.display()))?;
    if command.format == Format::Json {
        let told = json!({
            "file": command.output, "rows": rows,
            "numbers": statistics.numbers.keys().collect::<Vec<_>>(),
            "categories": statistics.categories.keys().collect::<Vec<_>>(),
        });
        print::line(told)?;
        return Ok(DONE);
    }
    let (numbers, texts) = (statistics.numbers.len(), statistics.categories.len());
    let (numbers, texts) = (counted(numbers, "column") + " of numbers", counted(texts, "column") + " of text");
    tracing::info!("{}: {numbers}, {texts}, of {}", command.output.display(), counted(rows, "row"));
    Ok(DONE)
}

fn see(columns: &mut BTreeMap<String, Seen>, batch: &RecordBatch) -> Result<()> {
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        match field.data_type() {
            of if of.is_numeric() => {
                let seen = columns.entry(field.name().clone()).or_insert(Seen::Numbers(0, 0.0, 0.0));
                let Seen::Numbers(count, mean, squares) = seen else { continue };
                let numbers = cast(array, &DataType::Float64)?;
                for x in numbers.as_primitive::<Float64Type>().iter().flatten().filter(|x| x.is_finite()) {
                    *count += 1;
                    let from_mean = x - *mean;
                    *mean += from_mean / *count as f64;
                    *squares += from_mean * (x - *mean);
                }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let seen = columns.entry(field.name().clone()).or_insert_with(|| Seen::Texts(HashMap::new()));
                let Seen::Texts(counts) = seen else { continue };
                let texts = cast(array, &DataType::Utf8)?;
                for text in texts.as_string::<i32>().iter().flatten() {
                    if let Some(count) = counts.get_mut(text) {
                        *count += 1;
                    } else if counts.len() < COUNTED_MAX {
                        counts.insert(text.to_owned(), 1);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Columns that had values.
fn statistics(columns: BTreeMap<String, Seen>, categories_max: usize) -> Statistics {
    let mut statistics = Statistics::default();
    for (name, seen) in columns {
        match seen {
            Seen::Numbers(0, ..) => {}
            Seen::Numbers(count, mean, squares) => {
                let standard_deviation = (squares / count as f64).sqrt();
                statistics.numbers.insert(name, Moments { mean, standard_deviation });
            }
            Seen::Texts(counts) => {
                let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
                counts.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
                counts.truncate(categories_max);
                if !counts.is_empty() {
                    statistics.categories.insert(name, counts.into_iter().map(|(text, _)| text).collect());
                }
            }
        }
    }
    statistics
}
