//! `sql check`: every problem of every file at once, for people or for editors.

use super::Planning;
use crate::{
    cli::{DONE, MISUSED},
    print::{self, counted},
};
use amoskys_pipeline::sql::{Problems, Wanted};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::{io::IsTerminal, path::PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Every fault of every file is told at once: where it is, what is wrong, what to write instead.
`--format json` prints an array for editors and CI, an object for each fault: file, line, column, end_line, end_column (from 1, in
letters; 0 for a file as a whole), severity, message, help. Exit code 0: no problem; 2: problems.")]
pub struct Command {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn check(command: &Command) -> Result<u8> {
    match (Planning::new(&command.sql, &command.models, Wanted::Inserts).plan()?, command.format) {
        (Ok(dataflow), Format::Text) => {
            let inserts: usize = dataflow.streams.iter().map(|flow| flow.inserts.len()).sum();
            let (streams, inserts) = (dataflow.summary(), counted(inserts, "INSERT"));
            print::line(format_args!("{streams}, {inserts}: no problem"))?;
            Ok(DONE)
        }
        (Ok(_), Format::Json) => {
            print::line("[]")?;
            Ok(DONE)
        }
        (Err(problems), Format::Text) => {
            let drawn = problems.drawn(std::io::stdout().is_terminal());
            print::line(format_args!("{drawn}{}", problems.summary()))?;
            Ok(MISUSED)
        }
        (Err(problems), Format::Json) => {
            print::line(serde_json::to_string_pretty(&objects(&problems))?)?;
            Ok(MISUSED)
        }
    }
}

fn objects(problems: &Problems) -> Vec<serde_json::Value> {
    let object = |problem: &amoskys_pipeline::sql::Problem| {
        let place = problem.place.as_ref();
        let ((line, column), (end_line, end_column)) =
            place.map_or(((0, 0), (0, 0)), |place| (place.start(), place.end()));
        serde_json::json!({
            "file": place.map(|place| &place.file.path),
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
            "severity": "error", "message": problem.message, "help": problem.help,
        })
    };
    problems.0.iter().map(object).collect()
}
