//! History as commands have it: `--from`, and the dataflow run over the files with its progress shown.

use crate::{
    cli::Misuse,
    progress::{self, Done},
};
use amoskys_pipeline::{
    run::{Emission, History, HistoryCounts, HistoryOptions, Progress, run_history},
    sql::{Dataflow, Failure},
};
use anyhow::Result;
use clap::Args;
use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How the rows of `--from` are put in order.
#[derive(Debug, Clone, Copy, Args)]
pub struct Sorting {
    /// Sort rows by their event time, where the files have no `_offset`: for files that were not written in its order, such
    /// as one of each host. On disk where they are larger than memory.
    #[arg(long)]
    sort_by_time: bool,
}

impl Sorting {
    pub fn options(self) -> HistoryOptions {
        HistoryOptions { sort_by_time: self.sort_by_time, ..HistoryOptions::default() }
    }
}

/// `--from NAME=FILE`
pub fn source(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err(format!("`{text}` is not NAME=FILE, e.g. processes=processes.parquet")),
    }
}

/// All that was given by `--from`.
pub fn history(from: &[(String, PathBuf)]) -> History {
    let mut history = History::new();
    for (name, file) in from {
        history.entry(name.clone()).or_default().push(file.clone());
    }
    history
}

/// Whether a dataflow reads rows of a stream.
pub fn reads(dataflow: &Dataflow, stream: &str) -> bool {
    dataflow.streams.iter().any(|flow| flow.shuffle.is_none() && flow.stream.name == stream)
}

/// What of the history a dataflow reads.
pub fn part_of(history: &History, dataflow: &Dataflow) -> History {
    let read = history.iter().filter(|(name, _)| reads(dataflow, name));
    read.map(|(name, files)| (name.clone(), files.clone())).collect()
}

/// As many as were asked for, or as there are cores.
pub fn threads(asked: Option<NonZeroUsize>) -> usize {
    asked.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// As [`run_history`], shown how far it is; what was asked for wrongly is a misuse.
pub fn files(
    dataflows: &[Dataflow],
    history: &History,
    options: &HistoryOptions,
    on_emission: &mut dyn FnMut(usize, Emission) -> ControlFlow<()>,
) -> Result<HistoryCounts> {
    let counts = with_progress(&options.progress, || run_history(dataflows, history, options, on_emission));
    if let Ok(counts) = &counts {
        for row in &counts.dead {
            let (file, reason) = (row.path.display(), &row.reason);
            tracing::warn!(%file, place = row.place, reason, "a processor would send this record to the dead-letter topic");
        }
        for Failure { query, expression, rows, example } in &counts.failures {
            tracing::warn!(
                query,
                expression,
                rows,
                example,
                "an expression cannot be computed for some rows and is null there"
            );
        }
    }
    counts.map_err(|error| if error.is_misuse() { Misuse::because(error) } else { error.into() })
}

/// Shows how far it is while `work` goes on.
fn with_progress<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let shower = scope.spawn(|| {
            let mut line = progress::Progress::new(Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                thread::park_timeout(PROGRESS_EVERY);
                let done = Done { part: progress.bytes(), total: progress.bytes_total(), rows: progress.rows() };
                line.show(done, Instant::now());
            }
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        shower.thread().unpark();
        result
    })
}
