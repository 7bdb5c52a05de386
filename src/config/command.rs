//! `amoskys config check FILE`: every problem of a file at once, and the exit code.
//!
//! Which role a file is for is told by its sections, unless the caller says it.

use super::{
    Problems, agent, agent_config,
    check::{Input, Purpose},
    environment::Variables,
    problem::Problem,
    processor, read_text,
    schema::Role,
    unreadable,
};
use crate::print::Format;
use std::{cmp::Ordering, path::Path};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleName {
    Agent,
    Processor,
}

/// Nothing wrong, or warnings only.
const EXIT_DONE: u8 = 0;
const EXIT_WRONG_CONFIGURATION: u8 = 2;

/// What to print and the exit code. A file that cannot be read is a problem like any other.
pub fn check_file(path: &Path, role: Option<RoleName>, variables: &Variables, format: Format) -> (String, u8) {
    let file = path.display().to_string();
    let mut assumed = None;
    let problems = match read_text(path) {
        Ok(text) => {
            let (role, why) = role.map_or_else(|| role_of(&text), |role| (role, "by --role"));
            assumed = Some((role, why));
            let input = Input { file: &file, text: &text, variables, exists: &Path::exists, purpose: Purpose::Check };
            problems_of(role, &input)
        }
        Err(message) => vec![unreadable(&file, message)],
    };
    let problems = Problems::new(problems);
    let exit = if problems.fatal() { EXIT_WRONG_CONFIGURATION } else { EXIT_DONE };
    let output = match format {
        Format::Json => problems.to_json(),
        Format::Text if problems.is_empty() => format!("{file}: no problems{}", checked_as(assumed)),
        Format::Text => format!("{problems}{}", checked_as(assumed)),
    };
    (output, exit)
}

fn problems_of(role: RoleName, input: &Input<'_>) -> Vec<Problem> {
    match role {
        RoleName::Agent => agent_config::check(input).1,
        RoleName::Processor => processor::check(input).1,
    }
}

/// Whose file it was taken for, and why.
fn checked_as(assumed: Option<(RoleName, &str)>) -> String {
    let name = |role| if role == RoleName::Agent { agent::AGENT.name } else { processor::PROCESSOR.name };
    assumed.map_or_else(String::new, |(role, why)| format!(" (checked as the {}'s file, {why})", name(role)))
}

/// The role with more of the file's sections, and why it is taken; the agent when both have as many.
fn role_of(text: &str) -> (RoleName, &'static str) {
    const UNTOLD: &str = "as its sections tell no role; --role processor for the other";
    let Ok(document) = toml_edit::Document::parse(text) else { return (RoleName::Agent, UNTOLD) };
    let known = |role: Role| document.iter().filter(|(name, _)| role.section(name).is_some()).count();
    match known(processor::PROCESSOR).cmp(&known(agent::AGENT)) {
        Ordering::Greater => (RoleName::Processor, "by its sections"),
        Ordering::Less => (RoleName::Agent, "by its sections"),
        Ordering::Equal => (RoleName::Agent, UNTOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, format: Format) -> (String, u8) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file.toml");
        std::fs::write(&path, text).expect("the file is written");
        check_file(&path, None, &Variables::new(), format)
    }

    #[test]
    fn the_role_is_told_by_the_sections() {
        assert_eq!(role_of("[processor]\n[bus]"), (RoleName::Processor, "by its sections"));
        assert_eq!(role_of("[agent]\n[bus]"), (RoleName::Agent, "by its sections"));
        for text in ["[bus]", "[["] {
            let (role, why) = role_of(text);
            assert!(role == RoleName::Agent && why.contains("--role"), "{text}");
        }
    }

    #[test]
    fn problems_exit_with_2_and_warnings_with_0() {
        let (output, exit) = check("[agent]\nmetrics_port = 0\nretry_max = 21\n", Format::Text);
        assert_eq!(exit, 2, "{output}");
        assert!(output.contains("file.toml:2:16") && output.contains("file.toml:3:13"), "{output}");
        let (output, exit) = check("[agent]\ncert_dir = '/nowhere'\n", Format::Text);
        assert_eq!(exit, 0, "{output}");
        assert!(output.contains("warning") && output.contains("/nowhere/agent.ed25519.pem"), "{output}");
    }

    #[test]
    fn a_file_without_problems_says_so_in_both_formats() {
        let clean = "[processor]\nverify = \"off\"\n";
        assert!(
            check(clean, Format::Text).0.ends_with("no problems (checked as the processor's file, by its sections)")
        );
        assert_eq!(check(clean, Format::Json), ("[]".to_owned(), 0));
    }

    #[test]
    fn of_a_file_that_is_no_toml_nothing_else_is_said() {
        for text in ["[agent]\nwal_path = \n", "[processor]\nverify = \n"] {
            let (output, exit) = check(text, Format::Text);
            assert_eq!((exit, output.matches(" --> ").count()), (2, 1), "{output}");
            assert!(output.contains("not valid TOML") && output.contains("1 error, 0 warnings"), "{output}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem() {
        let (output, exit) = check_file(Path::new("/nowhere.toml"), None, &Variables::new(), Format::Text);
        assert_eq!(exit, 2);
        assert!(output.contains("/nowhere.toml") && output.contains("cannot be read"), "{output}");
    }
}
