//! Configuration: one TOML file a role, overridden by variables; raw → judged → built.
//!
//! `agent.rs` and `processor.rs` hold the tables of keys, from which all else follows: reading with line numbers
//! (`file.rs`), overrides (`environment.rs`), judging (`kind.rs`, `check.rs`), all problems at once (`problem.rs`),
//! `amoskys config check` (`command.rs`) and `docs/configuration.md` (`page.rs`).
//!
//! Deliberately not here: building what runs. [`AgentConfig`] and [`ProcessorConfig`] are plain values that cannot be
//! out of range; who starts a role turns them into the options of its parts.

mod agent;
mod agent_config;
mod bus_section;
mod check;
mod command;
mod environment;
mod file;
mod kind;
mod page;
mod problem;
mod process_section;
mod processor;
mod quantity;
mod schema;
mod syscall_section;

pub use agent_config::AgentConfig;
pub use bus_section::BusConfig;
pub use command::{RoleName, check_file};
pub use environment::{Variables, of_process};
pub use page::render as reference;
pub use problem::{Place, Problem, Problems, Severity};
pub use processor::ProcessorConfig;

use check::{Input, Purpose};
use std::path::Path;

/// A configuration that a role can start with, and what to warn about (once, by whoever loaded it).
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub config: T,
    pub warnings: Problems,
}

/// Reads the agent's file to start it: a missing signing key is an error. `None`: no file, defaults and variables.
pub fn load_agent(path: Option<&Path>, variables: &Variables) -> Result<Loaded<AgentConfig>, Problems> {
    load(path, variables, agent_config::check)
}

/// Reads the processor's file to start it. `None`: no file, defaults and variables.
pub fn load_processor(path: Option<&Path>, variables: &Variables) -> Result<Loaded<ProcessorConfig>, Problems> {
    load(path, variables, processor::check)
}

/// Judges one role's text; the configuration when nothing is fatal.
type Check<T> = fn(&Input<'_>) -> (Option<T>, Vec<Problem>);

fn load<T>(path: Option<&Path>, variables: &Variables, check: Check<T>) -> Result<Loaded<T>, Problems> {
    let file = path.map_or_else(|| "(no file)".to_owned(), |path| path.display().to_string());
    let text = path.map_or(Ok(String::new()), read_text);
    let text = text.map_err(|message| Problems::new(vec![unreadable(&file, message)]))?;
    let input = Input { file: &file, text: &text, variables, exists: &Path::exists, purpose: Purpose::Run };
    let (config, problems) = check(&input);
    judged(&file, config, problems)
}

fn judged<T>(file: &str, config: Option<T>, problems: Vec<Problem>) -> Result<Loaded<T>, Problems> {
    let problems = Problems::new(problems);
    match config {
        Some(config) if !problems.fatal() => Ok(Loaded { config, warnings: problems }),
        None if !problems.fatal() => {
            let message = "a key that the program reads is missing from its own table; please report this".to_owned();
            Err(Problems::new(vec![unreadable(file, message)]))
        }
        _ => Err(problems),
    }
}

/// At most one byte more than a configuration may have, so that a wrong path cannot fill the memory.
fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let cannot = |error: std::io::Error| format!("the file cannot be read: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(file::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}

fn unreadable(file: &str, message: String) -> Problem {
    Problem {
        severity: Severity::Error,
        place: Place::File(file.to_owned()),
        key: String::new(),
        value: None,
        message,
        allowed: None,
        write: None,
    }
}

#[cfg(test)]
mod tests;
