//! `sql why`: why a detection fired or did not, from the rows of its streams to its alerts.
//!
//! Computes everything again, from files or from the topics, and looks at what comes to each condition on the way
//! (`amoskys_pipeline::sql::Probe`). Deliberately not here: what was computed by other SQL than what is given.
//! Limits: reads all that the files or topics hold, as what is late is a matter of all rows before.

mod answer;
mod gather;
mod question;
mod written;

use super::{Planning, over};
use crate::{
    cli::{self, DONE, FAILED, Misuse},
    print::{self, Format},
    topics::Login,
};
use amoskys_bus::Address;
use amoskys_pipeline::{
    run::{Emitter, Verify},
    sql::Wanted,
};
use amoskys_proto::{KeyRing, v1::Alert};
use answer::Answer;
use anyhow::{Context, Result, bail};
use clap::Args;
use gather::{Gathered, Reading};
use prost::Message;
use question::{Question, time_ns};
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Args)]
#[command(after_help = "\
DETECTION is the name of a file of INSERTs (without .sql), of a detection, or of a view. --where says whose rows are meant, in
columns of the stream or of the views; at each condition on the way it is applied as far as its columns are there. --at says when:
windows that hold that time, and rows that may be in them.

With --alert ID it is computed again why an alert was given, and, from a log, that what was written is what is computed.

Exit code 0: it fired; 1: it did not, or the alert is not what is computed; 2: wrong use.

Examples:
  amoskys sql why discovery_burst --where \"host_id = 'a' AND parent_pid = 7\" --at '2026-01-02 10:00:03' --from processes=p.parquet
  amoskys sql why discovery_burst --where \"host_id = 'a'\" --bus kafka://127.0.0.1:9092
  amoskys sql why --alert 5f0c… --bus kafka://127.0.0.1:9092")]
pub struct Command {
    /// A file of INSERTs, a detection, or a view.
    #[arg(value_name = "DETECTION", required_unless_present = "alert")]
    detection: Option<String>,
    /// Folders and files of SQL.
    #[arg(long, default_value = "sql", value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// Whose rows are meant, as in SQL.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// UTC, e.g. '2026-01-02 10:00:03'.
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    at: Option<i64>,
    /// Rows so long before and after --at are meant; as long as the longest window when left out, at least a minute.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
    /// An alert's id (provenance.id).
    #[arg(long, value_name = "ID", conflicts_with_all = ["condition", "at"])]
    alert: Option<String>,
    /// What a stream is read from; may be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = over::source)]
    from: Vec<(String, PathBuf)>,
    #[command(flatten)]
    sorting: over::Sorting,
    /// The log whose topics are read: kafka://host:port, nats://host:port or local:PATH.
    #[arg(long, value_name = "URL", env = "AMOSKYS_BUS", value_parser = cli::address)]
    bus: Option<Address>,
    #[command(flatten)]
    login: Login,
    /// With --bus: leave out envelopes that are signed by none of the public keys in this folder, as processors do.
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// How many windows or rows are shown of each condition.
    #[arg(long, default_value_t = 3, value_name = "N")]
    rows: usize,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

/// An alert of which is asked why it was given.
struct Given {
    alert: Alert,
    /// As it was written; computed again where there is no log.
    payload: Vec<u8>,
    is_from_log: bool,
}

pub fn why(command: &Command) -> Result<u8> {
    let reading = reading(command)?;
    let planning = Planning::new(&command.sql, &command.models, Wanted::Inserts);
    let given = command.alert.as_ref().map(|id| find(id, command, &planning, &reading)).transpose()?;
    let (name, question) = match (&given, &command.detection) {
        (Some(given), _) => (given.alert.detection.clone(), Question::of_alert(&given.alert)?),
        (None, Some(name)) => (name.clone(), Question::new(command.condition.as_deref(), command.at, command.within)?),
        (None, None) => bail!(Misuse("say which detection, or by --alert which alert".into())),
    };
    let planning =
        Planning { wanted: Wanted::Why { name: name.clone(), columns: question.words_of_columns() }, ..planning };
    let dataflow = planning.planned()?;
    if dataflow.probes.is_empty() {
        bail!(Misuse(format!("no detection or view is called `{name}`")));
    }
    let census = gather::census(planning.planned()?);
    let gathered = Gathered::gather(&reading, &dataflow, &census, &question, command.rows)?;
    let proof = given.as_ref().map(|given| gathered.proof(&given.alert, &given.payload, given.is_from_log));
    let answer = Answer { name: &name, question: &question, gathered: &gathered, proof };
    match command.format {
        Format::Text => print::text(answer.text())?,
        Format::Json => print::line(answer.json()?)?,
    }
    Ok(if answer.is_yes() { DONE } else { FAILED })
}

fn reading(command: &Command) -> Result<Reading> {
    if !command.from.is_empty() {
        cli::files_alone()?;
        return Ok(Reading::Files(over::history(&command.from), command.sorting.options()));
    }
    let Some(address) = &command.bus else {
        bail!(Misuse("say by --from NAME=FILE what to read, or by --bus URL whose topics".into()));
    };
    let verify = match &command.keys_dir {
        Some(folder) => Verify::by(KeyRing::load(folder).map_err(Misuse::because)?),
        None => Verify::Off,
    };
    Ok(Reading::Topics { bus: command.login.open(address, false)?, verify })
}

/// The alert as it was written to the log; or, from files, as it is computed again.
fn find(id: &str, command: &Command, planning: &Planning, reading: &Reading) -> Result<Given> {
    let dataflow = planning.planned()?;
    let (mut found, is_from_log) = (None, matches!(reading, Reading::Topics { .. }));
    match reading {
        Reading::Topics { bus, .. } => {
            let topics: std::collections::BTreeSet<&str> = dataflow.written_topics().collect();
            for topic in topics {
                found = found.or(written::record_with_id(bus.as_ref(), topic, id)?);
            }
        }
        Reading::Files(..) => {
            let emitters = Emitter::without_log_of(&dataflow, |_| true)?;
            gather::run(reading, &dataflow, &mut |place, emission| {
                let mut records = Vec::new();
                if let Some(emitter) = emitters.get(&(place.flow, place.insert)) {
                    emitter.encode(emission, &mut records)?;
                }
                let same =
                    |record: &amoskys_bus::Outgoing| record.headers.iter().any(|(_, value)| value == id.as_bytes());
                found = found.take().or_else(|| records.into_iter().find(same).map(|record| record.payload));
                Ok(())
            })?;
        }
    }
    let Some(payload) = found else {
        let where_ = if is_from_log {
            "in the topics that the SQL inserts into"
        } else {
            "among what the SQL gives over these files"
        };
        bail!(Misuse(format!("no record with the id {id} is {where_} ({})", command.sql[0].display())));
    };
    let alert = Alert::decode(payload.as_slice()).context("the record with this id is no alert")?;
    Ok(Given { alert, payload, is_from_log })
}
