//! `sql check`: every problem of every file at once, for people or for editors.

use super::{Planning, wrong::objects};
use crate::{
    cli::{DONE, MISUSED},
    print::{self, Format, counted},
};
use amoskys_pipeline::sql::{Problem, Problems, Wanted, untested};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::{io::IsTerminal, path::PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Every fault of every file is told at once: where it is, what is wrong, what to write instead.

Warnings, each with a name; `-- allow: NAME, NAME` above a statement says that it is meant:
  unread-view            no INSERT reads the view
  window-gaps            the slide is longer than the window, so rows between windows are in none
  lateness-over-size     rows may be later than the window is long
  window-over-retention  the topic forgets rows (OPTIONS (retention '7d')) before a window of them is over
  exact-distinct         count(DISTINCT x) keeps every value
  alert-fields           alerts lack host_id, entity, confidence or time
  text-as-number         text is compared with a number, and what is none is null
  shuffle                groups lie in several partitions, so panes are sent between them
  untested               no file of tests, x.test.sql, is beside the x.sql of the view or INSERT
  unknown-allow          a comment allows what no warning is called

`--format json` prints an array for editors and CI, an object for each fault: file, line, column, end_line, end_column (from 1, in
letters; 0 for a file as a whole), severity (`error`, `warning`), name (of a warning), message, help. Exit code 0: no error; 2: errors,
or warnings with --deny warnings.")]
pub struct Command {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Exit with 2 when there is any warning.
    #[arg(long, value_enum)]
    deny: Option<Deny>,
}

/// What makes the exit code 2 although the SQL plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

pub fn check(command: &Command) -> Result<u8> {
    let planning = Planning::new(&command.sql, &command.models, Wanted::Everything);
    let (found, planned) = match planning.plan()? {
        Ok(mut dataflow) => {
            let all = dataflow.streams.iter().flat_map(|flow| &flow.inserts);
            let inserts = all.filter(|insert| insert.sink.is_some()).count();
            let summary = format!("{}, {}", dataflow.summary(), counted(inserts, "INSERT"));
            dataflow.warnings.extend(untested(&planning.sources));
            dataflow.warnings.sort_by_cached_key(Problem::order);
            (Problems(dataflow.warnings), Some(summary))
        }
        Err(problems) => (problems, None),
    };
    match command.format {
        Format::Text => {
            let summary = match &planned {
                Some(summary) if found.0.is_empty() => format!("{summary}: no problem"),
                Some(summary) => format!("{summary}: {}", found.summary()),
                None => found.summary(),
            };
            print::line(format_args!("{}{summary}", found.drawn(std::io::stdout().is_terminal())))?;
        }
        Format::Json => print::line(serde_json::to_string_pretty(&objects(&found))?)?,
    }
    let is_denied = command.deny == Some(Deny::Warnings) && !found.0.is_empty();
    Ok(if planned.is_none() || is_denied { MISUSED } else { DONE })
}
