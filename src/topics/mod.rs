//! `amoskys topics {list,create,tail,write,export}`: looking into a log, and getting data in and out of it.
//!
//! Reads outside any consumer group, so it never takes a partition from a processor, and changes nothing but what
//! `create` and `write` say. Deliberately not here: verifying signatures (processors do that), deleting topics.
//! Limits: message types are those of this program's wire contract; anything else is shown and exported as bytes.

pub mod alert;
mod connect;
mod content;
mod export;
#[cfg(test)]
mod kafka_tests;
mod manage;
pub mod own;
mod partitions;
mod render;
mod rows;
mod tail;
#[cfg(test)]
mod tests;
pub mod text;
mod unfinished;
mod write;

pub use connect::{BusArguments, Login};
pub use own::{
    ALERTS, DEMO_FAMILY, PROCESS_FEATURES, PROCESS_TELEMETRY, STATUS, SYSCALL_TELEMETRY, default_settings, own_topics,
};
pub use unfinished::{refuse_to_overwrite, unfinished_beside};

use crate::{print::Format, stop};
use std::{
    io::{self, BufWriter, Write},
    sync::atomic::AtomicBool,
};

const EXIT_DONE: u8 = 0;
const EXIT_FAILED: u8 = 1;

/// List, create, read and export topics.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List topics with their partitions
    List(manage::ListArguments),
    /// Create topics; those that exist are left as they are
    Create(manage::CreateArguments),
    /// Print records, decoded where their type is known
    Tail(tail::TailArguments),
    /// Write lines of a file as records, to try SQL on one's own data
    Write(write::WriteArguments),
    /// Write a topic's rows into a Parquet file
    Export(export::ExportArguments),
}

impl Command {
    /// Whether errors are wanted as JSON, as the answer is.
    pub fn wants_json(&self) -> bool {
        match self {
            Command::List(arguments) => arguments.format == Format::Json,
            Command::Create(arguments) => arguments.format == Format::Json,
            Command::Tail(arguments) => arguments.format == Format::Json,
            Command::Export(arguments) => arguments.format == Format::Json,
            Command::Write(_) => false,
        }
    }
}

/// Carries out the command on standard output and returns the exit code. Ends in good order on SIGINT and SIGTERM.
/// With `quiet`, `create` and `write` do not tell people what they did.
pub fn run(command: Command, quiet: bool) -> anyhow::Result<u8> {
    let stop = stop::on_signal()?;
    if quiet && command.only_tells_people() {
        return run_on(command, &mut io::sink(), &stop);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let code = run_on(command, &mut out, &stop)?;
    out.flush()?;
    Ok(code)
}

impl Command {
    /// Whether what it prints is no data that somebody asked for.
    fn only_tells_people(&self) -> bool {
        match self {
            Command::Create(arguments) => arguments.format == Format::Text,
            Command::Write(_) => true,
            Command::List(_) | Command::Tail(_) | Command::Export(_) => false,
        }
    }
}

fn run_on(command: Command, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => manage::list(&arguments, out),
        Command::Create(arguments) => manage::create(&arguments, out),
        Command::Tail(arguments) => tail::tail(&arguments, out, stop),
        Command::Write(arguments) => write::write(&arguments, out, stop),
        Command::Export(arguments) => export::export(&arguments, out, stop),
    }
}
