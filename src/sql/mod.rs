//! `amoskys sql`: check SQL, run it over history.

mod output;

use crate::{
    cli::{self, DONE, MISUSED, Misuse},
    print::{self, counted},
    roles::{ModelPlace, Models},
};
use amoskys_pipeline::{
    run::{History, HistoryError, run_history},
    sql::{self, Dataflow},
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use output::Output;
use std::{io::IsTerminal, path::PathBuf};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan all files together and print every problem, each with file, line and column.
    Check(CheckCommand),
    /// Run a view over files: the same SQL, windows and watermarks as live.
    Run(RunCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "Every fault of every file is told at once: where it is, what is wrong, what to write instead.
`--format json` prints an array for editors and CI, an object for each fault: file, line, column, end_line, end_column (from 1, in
letters; 0 for a file as a whole), severity, message, help. Exit code 0: no problem; 2: problems.")]
pub struct CheckCommand {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  amoskys topics export amoskys.telemetry.process.v1 --output processes.parquet
  amoskys sql run sql --from processes=processes.parquet --view process_activity --format parquet --output features.parquet
Rows are taken in the order of `_partition` and `_offset`, where the file has them.")]
pub struct RunCommand {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// The Parquet file that a stream is read from; may be given several times.
    #[arg(long, required = true, value_name = "NAME=FILE", value_parser = source)]
    from: Vec<(String, PathBuf)>,
    /// The view whose rows are wanted.
    #[arg(long)]
    view: String,
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Where the rows go; standard output when left out (not for Parquet).
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it exists.
    #[arg(long)]
    force: bool,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    /// One object per line.
    Json,
    Parquet,
}

fn source(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err(format!("`{text}` is not NAME=FILE, e.g. processes=processes.parquet")),
    }
}

pub fn run(command: Command) -> Result<u8> {
    match command {
        Command::Check(command) => check(&command),
        Command::Run(command) => over_history(command),
    }
}

fn plan(paths: &[PathBuf], models: &std::path::Path, collect: Vec<String>) -> Result<Result<Dataflow, sql::Problems>> {
    let options = sql::Options {
        pool: amoskys_proto::pool().context("the wire contract does not load")?,
        models: Models::new(ModelPlace { models_dir: models.to_owned(), onnxruntime: None }).lookup(),
        without_inserts: !collect.is_empty(),
        collect,
    };
    Ok(sql::plan(&sql::load(paths), &options))
}

fn check(command: &CheckCommand) -> Result<u8> {
    let problems = match plan(&command.sql, &command.models, Vec::new())? {
        Ok(dataflow) => {
            if let CheckFormat::Text = command.format {
                let inserts: usize = dataflow.streams.iter().map(|flow| flow.inserts.len()).sum();
                let (streams, inserts) = (dataflow.summary(), counted(inserts, "INSERT"));
                print::line(format_args!("{streams}, {inserts}: no problem"))?;
            } else {
                print::line("[]")?;
            }
            return Ok(DONE);
        }
        Err(problems) => problems,
    };
    match command.format {
        CheckFormat::Text => {
            let drawn = problems.drawn(std::io::stdout().is_terminal());
            print::line(format_args!("{drawn}{}", problems.summary()))?;
        }
        CheckFormat::Json => {
            let list = problems.0.iter().map(|problem| {
                let place = problem.place.as_ref();
                let ((line, column), (end_line, end_column)) =
                    place.map_or(((0, 0), (0, 0)), |place| (place.start(), place.end()));
                serde_json::json!({
                    "file": place.map(|place| &place.file.path),
                    "line": line, "column": column, "end_line": end_line, "end_column": end_column,
                    "severity": "error", "message": problem.message, "help": problem.help,
                })
            });
            print::line(serde_json::to_string_pretty(&list.collect::<Vec<_>>())?)?;
        }
    }
    Ok(MISUSED)
}

fn over_history(command: RunCommand) -> Result<u8> {
    let dataflow = plan(&command.sql, &command.models, vec![command.view.clone()])?
        .map_err(|problems| cli::sql_is_wrong(&problems))?;
    let mut history = History::new();
    for (name, file) in command.from {
        history.entry(name).or_default().push(file);
    }
    let inserts = dataflow.streams.iter().flat_map(|flow| &flow.inserts);
    let schema =
        inserts.map(|insert| insert.output.clone()).next().context("the view is not among what was planned")?;
    let mut output = Output::open(command.format, command.output.as_deref(), command.force, schema)?;
    let mut result = Ok(());
    run_history(&dataflow, &history, &mut |_, emission| {
        if result.is_ok() {
            result = output.write(&emission.batch);
        }
    })
    .map_err(|error| match error {
        // What was asked for, not what went wrong.
        HistoryError::UnknownStream { .. } | HistoryError::Missing { .. } | HistoryError::File { .. } => {
            Misuse::because(error)
        }
        error => error.into(),
    })?;
    result?;
    let rows = output.close()?;
    tracing::info!(rows, view = command.view, "done");
    Ok(DONE)
}
