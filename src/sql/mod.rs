//! `amoskys sql`: check SQL, explain it, test it, run it over history, compare versions of it, say why it fires, fit its
//! features, list what it may call.

mod check;
mod diff;
mod explain;
mod fit;
mod functions;
mod outlet;
mod output;
mod over;
mod run;
mod shown;
mod test;
mod why;
mod wrong;

pub use wrong::SqlIsWrong;

use crate::{
    print::Format,
    roles::{ModelPlace, Models},
};
use amoskys_pipeline::sql::{self, Dataflow, Problems, Sources, Statement, Wanted};
use anyhow::{Context, Result};
use clap::Subcommand;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan all files together and print every problem, each with file, line and column.
    Check(check::Command),
    /// Run two versions over the same history: which alerts appear, disappear or change, and gates for CI.
    Diff(diff::Command),
    /// Show what SQL becomes: what is decoded, where it is cut, which views share panes, what is read again.
    Explain(explain::Command),
    /// Write means, spreads and frequent values of a view's columns, for normalise and one_hot.
    Fit(fit::Command),
    /// List what SQL may call, or say what one function does.
    Functions(functions::Command),
    /// Run views and INSERTs over files: the same SQL, windows and watermarks as live.
    Run(Box<run::Command>),
    /// Run the tests that stand beside the SQL: rows and moments in, rows, alerts and counts out.
    Test(test::Command),
    /// Say why a detection fired or did not: what every condition on the way saw, and the first that said no.
    Why(Box<why::Command>),
}

impl Command {
    /// Whether errors are wanted as JSON, as the answer is: an object, `{"error", "problems"}`, on standard error.
    pub fn wants_json(&self) -> bool {
        match self {
            Command::Check(command) => command.format == Format::Json,
            Command::Diff(command) => command.format == Format::Json,
            Command::Explain(command) => command.format == explain::Format::Json,
            Command::Fit(command) => command.format == Format::Json,
            Command::Functions(command) => command.format == Format::Json,
            Command::Run(command) => command.format == Some(output::Format::Json),
            Command::Test(command) => command.format == Format::Json,
            Command::Why(command) => command.format == Format::Json,
        }
    }
}

pub fn run(command: Command) -> Result<u8> {
    match command {
        Command::Check(command) => check::check(&command),
        Command::Diff(command) => diff::diff(&command),
        Command::Explain(command) => explain::explain(command),
        Command::Fit(command) => fit::fit(&command),
        Command::Functions(command) => functions::functions(&command),
        Command::Run(command) => run::run(*command),
        Command::Test(command) => test::test(&command),
        Command::Why(command) => why::why(&command),
    }
}

/// SQL that can be planned as often as there are threads to run it.
struct Planning {
    sources: Sources,
    models: Arc<Models>,
    wanted: Wanted,
}

impl Planning {
    fn new(paths: &[PathBuf], models: &Path, wanted: Wanted) -> Self {
        Self { sources: sql::load(paths), models: models_below(models), wanted }
    }

    fn plan(&self) -> Result<Result<Dataflow, Problems>> {
        self.plan_of(&self.sources, self.wanted.clone())
    }

    /// The plan; every problem of the SQL is one error.
    fn planned(&self) -> Result<Dataflow> {
        self.plan()?.map_err(|problems| SqlIsWrong::new(problems).into())
    }

    /// The same for each thread: what a plan runs over, and a model's session, are one thread's.
    fn planned_for(&self, threads: usize) -> Result<Vec<Dataflow>> {
        (0..threads).map(|_| self.planned()).collect()
    }

    /// With more statements, each in the place of one that defines the same name: every INSERT, and those of the names that
    /// are views.
    fn plan_with(
        &self,
        statements: impl Iterator<Item = Statement>,
        names: impl Iterator<Item = String>,
    ) -> Result<Result<Dataflow, Problems>> {
        let mut sources = self.sources.clone();
        sources.replace(statements);
        let views = sql::views_of(&sources);
        let names: BTreeSet<String> = names.filter(|name| views.contains(name)).collect();
        self.plan_of(&sources, Wanted::All(names.into_iter().collect()))
    }

    fn plan_of(&self, sources: &Sources, wanted: Wanted) -> Result<Result<Dataflow, Problems>> {
        let options = sql::Options {
            pool: amoskys_proto::pool().context("the wire contract does not load")?,
            models: self.models.lookup(),
            wanted,
        };
        Ok(sql::plan(sources, &options))
    }
}

/// For all plans of a process, as ONNX Runtime is loaded once.
fn models_below(folder: &Path) -> Arc<Models> {
    Models::new(ModelPlace { models_dir: folder.to_owned(), onnxruntime: None })
}
