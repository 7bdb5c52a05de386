//! Variables → values that override the file: `AMOSKYS_<SECTION>_<KEY>`, and the `IS_*` names of the system before.
//!
//! The environment comes in as a map, so tests need no process of their own. A variable that looks like an override
//! and is none only warns: orchestrators put variables of their own there (`AMOSKYS_AGENT_SERVICE_HOST`).

use super::{
    file::Found,
    kind::{Kind, Written},
    problem::{Place, Problem, Severity},
    quantity::render_duration,
    schema::{Key, Role, Section, VARIABLE_PREFIX, nearest, variable},
};
use std::{collections::BTreeMap, time::Duration};

/// Variables by name.
pub type Variables = BTreeMap<String, String>;

const OLD_PREFIX: &str = "IS_";

/// Those variables of this process that can concern a configuration. Bytes that are no UTF-8 are replaced, so that
/// the value is judged (and refused) like any other.
pub fn of_process() -> Variables {
    let all = std::env::vars_os();
    let texts = all.map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    texts.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX) || name.starts_with(OLD_PREFIX)).collect()
}

/// Overrides for this role, at most one a key, and warnings about old and unknown names.
pub fn read(role: &Role, variables: &Variables) -> (Vec<Found>, Vec<Problem>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (section, key) in role.keys() {
        let name = variable(section.name, key.name);
        let old = key.old_variable.and_then(|old| variables.get_key_value(old));
        match (variables.get(&name), old) {
            (Some(value), old) => {
                found.push(override_of(section, key, &name, value, false));
                problems.extend(old.map(|(old, _)| ignored(section, key, old, &name)));
            }
            (None, Some((old, value))) => {
                found.push(override_of(section, key, old, value, true));
                problems.push(renamed(section, key, old, &name, value));
            }
            (None, None) => {}
        }
    }
    problems.extend(unknown(role, variables));
    (found, problems)
}

fn override_of(section: &'static Section, key: &'static Key, name: &str, value: &str, old: bool) -> Found {
    let written = match key.kind {
        // The old system took seconds without a unit.
        Kind::Duration { .. } if old => Written::Text(old_seconds(value)),
        kind => kind.written_in_variable(value),
    };
    let shown = if key.secret { "…".to_owned() } else { format!("`{value}`") };
    Found { section, key, written, shown, place: Place::Variable(name.to_owned()) }
}

/// `5` → `5s`, `2.5` → `2500ms`; anything else as it is.
fn old_seconds(value: &str) -> String {
    match value.trim().parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => {
            render_duration(Duration::from_millis((seconds * 1000.0).round() as u64))
        }
        _ => value.to_owned(),
    }
}

/// The hint is the value under the new name, as that wants it; none for a value that is refused, which has its own.
fn renamed(section: &'static Section, key: &'static Key, old: &str, name: &str, value: &str) -> Problem {
    let written = override_of(section, key, old, value, true).written;
    let value = match &written {
        _ if key.secret => "…".to_owned(),
        Written::Text(text) => text.clone(),
        _ => value.to_owned(),
    };
    let write = key.kind.read(&written).is_ok().then(|| format!("{name}={value}"));
    warning(section, key, old, format!("is set by the old variable {old}; its name is {name} now"), write)
}

fn ignored(section: &Section, key: &Key, old: &str, name: &str) -> Problem {
    let message = format!("is set by {name}; the old variable {old} is set too and ignored");
    warning(section, key, old, message, Some(format!("unset {old}")))
}

fn warning(section: &Section, key: &Key, variable: &str, message: String, write: Option<String>) -> Problem {
    Problem {
        severity: Severity::Warning,
        place: Place::Variable(variable.to_owned()),
        key: format!("{}.{}", section.name, key.name),
        value: None,
        message,
        allowed: None,
        write,
    }
}

fn unknown(role: &Role, variables: &Variables) -> Vec<Problem> {
    let known: Vec<String> = role.keys().map(|(section, key)| variable(section.name, key.name)).collect();
    let of_role = |name: &str| role.sections.iter().any(|section| name.starts_with(&variable(section.name, "")));
    let strangers = variables.keys().filter(|name| of_role(name) && !known.contains(name));
    strangers
        .map(|name| Problem {
            severity: Severity::Warning,
            place: Place::Variable(name.clone()),
            key: String::new(),
            value: None,
            message: format!("{name} overrides no key of the {} and is ignored", role.name),
            allowed: None,
            write: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{agent::AGENT, processor::PROCESSOR};

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn values(found: &[Found]) -> Vec<(&str, &Written)> {
        found.iter().map(|found| (found.key.name, &found.written)).collect()
    }

    #[test]
    fn a_variable_overrides_its_key() {
        let (found, problems) = read(&AGENT, &variables(&[("AMOSKYS_AGENT_WAL_PATH", "/w"), ("HOME", "/h")]));
        assert_eq!(values(&found), [("wal_path", &Written::Text("/w".into()))]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn every_old_name_works_and_warns_once_naming_the_new_one() {
        for (old, new) in [
            ("IS_CERT_DIR", "AMOSKYS_AGENT_CERT_DIR"),
            ("IS_WAL_PATH", "AMOSKYS_AGENT_WAL_PATH"),
            ("IS_BUS_ADDRESS", "AMOSKYS_AGENT_BUS_ADDRESS"),
            ("IS_MAX_ENV_BYTES", "AMOSKYS_AGENT_MAX_ENV_BYTES"),
            ("IS_SEND_RATE", "AMOSKYS_AGENT_SEND_RATE"),
            ("IS_RETRY_MAX", "AMOSKYS_AGENT_RETRY_MAX"),
            ("IS_RETRY_TIMEOUT", "AMOSKYS_AGENT_RETRY_TIMEOUT"),
            ("IS_METRICS_PORT", "AMOSKYS_AGENT_METRICS_PORT"),
            ("IS_HEALTH_PORT", "AMOSKYS_AGENT_HEALTH_PORT"),
        ] {
            let (found, problems) = read(&AGENT, &variables(&[(old, "7")]));
            assert_eq!((found.len(), problems.len()), (1, 1), "{old}");
            assert_eq!(problems[0].severity, Severity::Warning);
            assert!(problems[0].message.ends_with(&format!("its name is {new} now")), "{}", problems[0].message);
            assert_eq!(variable(found[0].section.name, found[0].key.name), new);
        }
    }

    #[test]
    fn the_new_name_wins_and_the_old_one_is_said_to_be_ignored() {
        let both = variables(&[("IS_METRICS_PORT", "1"), ("AMOSKYS_AGENT_METRICS_PORT", "2")]);
        let (found, problems) = read(&AGENT, &both);
        assert_eq!(values(&found), [("metrics_port", &Written::Integer(2))]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("ignored"), "{problems:?}");
    }

    #[test]
    fn old_timeouts_are_seconds() {
        let old = |value| read(&AGENT, &variables(&[("IS_RETRY_TIMEOUT", value)])).0.remove(0).written;
        assert_eq!(old("2.5"), Written::Text("2500ms".into()));
        assert_eq!(old("3s"), Written::Text("3s".into()));
        assert_eq!(old("nan"), Written::Text("nan".into()));
    }

    #[test]
    fn a_variable_that_overrides_nothing_warns_with_the_nearest() {
        let (found, problems) = read(&AGENT, &variables(&[("AMOSKYS_AGENT_WAL_PAHT", "/w"), ("AMOSKYS_OTHER_X", "1")]));
        assert!(found.is_empty());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].write.as_deref(), Some("AMOSKYS_AGENT_WAL_PATH"));
    }

    #[test]
    fn the_other_role_is_left_alone() {
        let (found, problems) = read(
            &PROCESSOR,
            &variables(&[("AMOSKYS_AGENT_WAL_PAHT", "/w"), ("IS_WAL_PATH", "/w"), ("AMOSKYS_PROCESS_TOPIC", "t")]),
        );
        assert!(found.is_empty() && problems.is_empty(), "{problems:?}");
        let (_, problems) = read(&AGENT, &variables(&[("AMOSKYS_PROCESSOR_GROUP", "g")]));
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_secret_in_a_variable_is_not_shown() {
        let (found, _) = read(&AGENT, &variables(&[("AMOSKYS_BUS_PASSWORD", "hunter2")]));
        assert_eq!(found[0].shown, "…");
    }
}
