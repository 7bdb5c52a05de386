//! `docs/configuration.md`, rendered from the tables of keys, so that it cannot drift from them.
//!
//! A test compares the page with what this renders; `AMOSKYS_WRITE_PAGES=1 cargo test -p amoskys page_of_configuration`
//! writes it anew.

use super::{
    agent::AGENT,
    processor::PROCESSOR,
    schema::{Fallback, Key, Role, Section, variable},
};
use std::fmt::Write;

const HEAD: &str = "\
# Configuration

<!-- Rendered from src/config/. Do not edit: AMOSKYS_WRITE_PAGES=1 cargo test -p amoskys page_of_configuration -->

One TOML file a role. Every key has a default, so an empty file is a valid one; a key that is not listed here is an
error that names the nearest listed one.

- **Checking**: `amoskys config check FILE` prints every problem at once, with file, line, key, value, what is allowed
  and what to write instead (`--format json` for programs). Exit code 0 when there are at most warnings, 2 otherwise.
  A key file that is missing is a warning there, because the file may be meant for another machine; a role that needs
  it does not start.
- **Overriding**: every key can be set by a variable, `AMOSKYS_<SECTION>_<KEY>`. It wins over the file; an option on
  the command line wins over both. A bad value is reported as one in the file is.
- **Amounts**: bytes as `10 MiB`, `64 kB` or a bare number; times with their unit, `500ms`, `5s`, `2m`, `1h`, `1d`.
  Whole numbers only.
- **Paths** that are relative start from the folder the program is started in.
- The names that the system before this one used (`IS_*`) still work and warn: [migration](migration.md).
";

/// The page, with one newline at its end.
pub fn render() -> String {
    let mut page = HEAD.to_owned();
    for role in [AGENT, PROCESSOR] {
        push_role(&mut page, &role);
    }
    page
}

fn push_role(page: &mut String, role: &Role) {
    line(page, format_args!("\n## The {}'s file\n\n{}", role.name, role.about));
    for section in role.sections {
        line(page, format_args!("\n### `[{}]`\n\n{}\n", section.name, section.about));
        line(page, format_args!("| key | default | allowed | what it does |\n|---|---|---|---|"));
        for key in section.keys {
            line(page, format_args!("{}", row(section, key)));
        }
    }
}

fn row(section: &Section, key: &Key) -> String {
    let default = match key.fallback {
        Fallback::Value(value) => format!("`{}`", key.kind.in_toml(value)),
        Fallback::Unset(then) => then.to_owned(),
    };
    let mut help = format!("{} `{}`", key.help, variable(section.name, key.name));
    if let Some(old) = key.old_variable {
        let _ = write!(help, ", once `{old}`");
    }
    format!("| `{}` | {default} | {} | {help} |", key.name, key.kind.allowed())
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests run in their package's folder.
    const PAGE: &str = "docs/configuration.md";

    #[test]
    fn page_of_configuration_is_what_the_tables_say() {
        if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
            std::fs::write(PAGE, render()).expect("docs/ can be written");
        }
        let page = std::fs::read_to_string(PAGE).expect("docs/configuration.md is there");
        assert!(
            page == render(),
            "docs/configuration.md differs from the tables in src/config; write it anew with \
             `AMOSKYS_WRITE_PAGES=1 cargo test -p amoskys page_of_configuration`"
        );
    }

    #[test]
    fn every_key_of_both_roles_is_on_the_page() {
        let page = render();
        for (section, key) in AGENT.keys().chain(PROCESSOR.keys()) {
            assert!(page.contains(&variable(section.name, key.name)), "{}", key.name);
        }
    }
}
