//! `amoskys topics {list,create,tail,export}`: looking into a log and getting data out of it.
//!
//! Reads outside any consumer group, so it never takes a partition from a processor, and changes nothing but what
//! `create` says. Deliberately not here: verifying signatures (processors do that), deleting topics, writing records.
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
mod progress;
mod render;
mod rows;
mod tail;
#[cfg(test)]
mod tests;
pub mod text;

pub use connect::BusArguments;
pub use own::{ALERTS, own_topics};

use amoskys_bus::{BusError, Fault};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::{
    fmt,
    io::{self, BufWriter, Write},
    sync::{Arc, atomic::AtomicBool},
};

const EXIT_DONE: u8 = 0;
const EXIT_FAILED: u8 = 1;
const EXIT_WRONG_USE: u8 = 2;

/// List, create, read and export topics.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List topics with their partitions
    List(manage::ListArguments),
    /// Create topics; those that exist are left as they are
    Create(manage::CreateArguments),
    /// Print records, decoded where their type is known
    Tail(tail::TailArguments),
    /// Write a topic's rows into a Parquet file
    Export(export::ExportArguments),
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// The command cannot be carried out as it was given: the user's to change, so exit code 2.
#[derive(Debug)]
pub struct WrongUse(pub String);

impl fmt::Display for WrongUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Carries out the command on standard output. The result is the exit code; [`exit_code`] gives that of an error.
/// Ends in good order on SIGINT and SIGTERM, and when the reader of standard output goes away.
pub fn run(command: Command) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first asks for a good end; a second one, while that is under way, ends at once.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run_on(command, &mut out, &stop).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Err(error) if is_closed_pipe(&error) => Ok(EXIT_DONE),
        result => result,
    }
}

fn run_on(command: Command, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => manage::list(&arguments, out),
        Command::Create(arguments) => manage::create(&arguments, out),
        Command::Tail(arguments) => tail::tail(&arguments, out, stop),
        Command::Export(arguments) => export::export(&arguments, out, stop),
    }
}

/// 2 when the user has to change something, else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let users = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<WrongUse>() || cause.downcast_ref::<BusError>().is_some_and(|error| error.fault() == Fault::User)
    };
    if error.chain().any(users) { EXIT_WRONG_USE } else { EXIT_FAILED }
}

/// Nobody reads our output any more (`… | head -1`): done, not failed.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}
