//! The command line: commands, their flags and their help.

use crate::{
    config, demo,
    print::{self, Format},
    roles,
    sql::{self, SqlIsWrong},
    topics,
};
use amoskys_bus::{Address, BusError, Fault};
use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::{io::IsTerminal, path::PathBuf};
use tracing_subscriber::filter::LevelFilter;

pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
pub const MISUSED: u8 = 2;

/// Wrong use or configuration: ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

impl Misuse {
    pub fn because(error: impl std::fmt::Display) -> anyhow::Error {
        Misuse(error.to_string()).into()
    }
}

/// 2 when the user has something to change (not only flags: a topic that is not there, a login that the log refuses),
/// else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let users = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Misuse>()
            || cause.is::<SqlIsWrong>()
            || cause.downcast_ref::<BusError>().is_some_and(|error| error.fault() == Fault::User)
    };
    if error.chain().any(users) { MISUSED } else { FAILED }
}

/// For who asked for JSON: the error in words, and the problems of SQL as `sql check` tells them.
pub fn error_object(error: &anyhow::Error) -> serde_json::Value {
    match error.downcast_ref::<SqlIsWrong>() {
        Some(wrong) => serde_json::json!({ "error": wrong.summary(), "problems": wrong.objects() }),
        None => serde_json::json!({ "error": format!("{error:#}") }),
    }
}

/// Security telemetry in, alerts out, on an external log.
#[derive(Debug, Parser)]
#[command(name = "amoskys", version, max_term_width = 130, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: Log,
}

const EXAMPLES: &str = "\
Examples:
  See it work on this machine, with real events and real alerts:
      amoskys demo
  Watch this machine for keeps, everything in one process:
      amoskys run --agent agent.toml --sql sql --bus local:/var/lib/amoskys/log
  On a broker: topics once, an agent on each host, as many processors as you like:
      amoskys topics create --all --bus kafka://broker:9092
      amoskys agent --config agent.toml
      amoskys process sql --bus kafka://broker:9092
  Read alerts:
      amoskys topics tail amoskys.alerts.v1 --follow --bus kafka://broker:9092
  Run the same SQL over history:
      amoskys sql run sql --from processes=processes.parquet --view process_activity";

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub struct Log {
    /// Say only what went wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Log {
    /// AMOSKYS_LOG (in the syntax of tracing's EnvFilter) wins over the flags.
    pub fn start(self, usual: LevelFilter) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (_, 0) => usual,
            (_, 1) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let mut filter = tracing_subscriber::EnvFilter::builder()
            .with_default_directive(level.into())
            .with_env_var("AMOSKYS_LOG")
            .from_env_lossy();
        // What it logs with each attempt to connect is told once by whoever needs the connection.
        if !std::env::var("AMOSKYS_LOG").is_ok_and(|wish| wish.contains("async_nats"))
            && let Ok(silence) = "async_nats=off".parse()
        {
            filter = filter.add_directive(silence);
        }
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_target(false)
            .init();
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole way: kernel events of this host, windows in SQL, scored alerts.
    Demo(demo::Command),
    /// Agent and processor in one process, on the embedded log.
    Run(roles::RunCommand),
    /// Push this host's telemetry to a log.
    Agent(roles::AgentCommand),
    /// Compute windows, scores and alerts from a log.
    Process(roles::ProcessCommand),
    /// Check SQL, or run it over history.
    #[command(subcommand)]
    Sql(sql::Command),
    /// List, create, read and export topics.
    #[command(subcommand)]
    Topics(topics::Command),
    /// Check configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a script that completes commands in a shell: amoskys completions bash > /etc/bash_completion.d/amoskys
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command, e.g. to /usr/local/share/man/man1.
    Man {
        /// The folder; it is made.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Make an agent's signing key; the public half goes beside it, for the processors.
    Keygen(roles::KeygenCommand),
}

impl Command {
    /// The demo has its own display, which a log would disturb.
    pub fn usual_log_level(&self) -> LevelFilter {
        if let Command::Demo(_) = self { LevelFilter::ERROR } else { LevelFilter::INFO }
    }

    /// Whether errors are wanted as JSON, as the answer is.
    pub fn wants_json(&self) -> bool {
        match self {
            Command::Sql(command) => command.wants_json(),
            Command::Topics(command) => command.wants_json(),
            // Those of a file are its answer.
            Command::Config(ConfigCommand::Check { format, .. }) => *format == Format::Json,
            _ => false,
        }
    }

    pub fn run(self, log: Log) -> Result<u8> {
        match self {
            Command::Demo(command) => demo::run(command, log),
            Command::Run(command) => roles::run(command),
            Command::Agent(command) => roles::agent(command),
            Command::Process(command) => roles::process(command),
            Command::Sql(command) => sql::run(command),
            Command::Topics(command) => topics::run(command, log.quiet),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "amoskys", &mut script);
                print::text(String::from_utf8_lossy(&script))?;
                Ok(DONE)
            }
            Command::Man { folder } => {
                std::fs::create_dir_all(&folder)
                    .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder))
                    .map_err(|error| {
                        Misuse(format!("manual pages cannot be written to {}: {error}", folder.display()))
                    })?;
                print::line(format_args!("manual pages are in {}", folder.display()))?;
                Ok(DONE)
            }
            Command::Keygen(command) => roles::keygen(command),
            Command::Config(ConfigCommand::Reference) => {
                print::text(config::reference())?;
                Ok(DONE)
            }
            Command::Config(ConfigCommand::Check { file, role, format }) => {
                let (text, code) = config::check_file(&file, role, &config::of_process(), format);
                print::line(text.trim_end())?;
                Ok(code)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key of both files, with default, range and variable (docs/configuration.md).
    Reference,
    /// Print every problem of a configuration file at once; exit code 2 if one is an error.
    Check {
        file: PathBuf,
        /// Whose file it is; found out from its sections when left out.
        #[arg(long, value_enum)]
        role: Option<config::RoleName>,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// `--from` beside the address of a log: what is written on the command line counts before what the environment has.
///
/// # Errors
/// Both are written.
pub fn files_alone() -> Result<(), Misuse> {
    let is_written = std::env::args().any(|argument| argument == "--bus" || argument.starts_with("--bus="));
    if is_written {
        return Err(Misuse("--from reads files, and --bus topics: one of them".into()));
    }
    Ok(())
}

/// `--bus`
pub fn address(text: &str) -> Result<Address, String> {
    text.parse()
}
