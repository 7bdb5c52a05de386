//! `topics list` and `topics create`.

use super::{
    BusArguments, EXIT_DONE,
    connect::key_value,
    own::{default_settings, own_topics},
};
use crate::{cli::Misuse, print::Format};
use amoskys_bus::TopicSpec;
use serde_json::json;
use std::io::Write;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amoskys topics list --bus kafka://127.0.0.1:9092
  amoskys topics list --bus local:/var/lib/amoskys/log --format json")]
pub struct ListArguments {
    #[command(flatten)]
    bus: BusArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Topics whose name begins with `amoskys.` take the log's own time (LogAppendTime) and records of 10 MiB unless --set \
says otherwise. With --all, agent status and dead letters get one partition whatever --partitions says. A topic that \
exists is left as it is.

Examples:
  amoskys topics create --all --bus kafka://127.0.0.1:9092 --partitions 12 --replication 3
  amoskys topics create amoskys.features.logins.v1 --bus local:/var/lib/amoskys/log
  amoskys topics create orders --bus kafka://127.0.0.1:9092 --set retention.ms=86400000")]
pub struct CreateArguments {
    #[command(flatten)]
    bus: BusArguments,
    /// Topics to create
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// Create Amoskys' own topics
    #[arg(long)]
    all: bool,
    /// Partitions of each topic
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Copies of each partition; Kafka only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=i32::from(i16::MAX) as i64))]
    replication: i32,
    /// A setting by Kafka's name, e.g. retention.ms=86400000; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

pub fn list(arguments: &ListArguments, out: &mut dyn Write) -> anyhow::Result<u8> {
    let topics = arguments.bus.open(false)?.topics()?;
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0);
    for topic in &topics {
        let (name, partitions) = (&topic.name, topic.partitions);
        match arguments.format {
            Format::Json => writeln!(out, "{}", json!({"name": name, "partitions": partitions}))?,
            Format::Text => writeln!(out, "{name:width$}  {}", counted(partitions))?,
        }
    }
    Ok(EXIT_DONE)
}

pub fn create(arguments: &CreateArguments, out: &mut dyn Write) -> anyhow::Result<u8> {
    let bus = arguments.bus.open(true)?;
    let there = bus.topics()?;
    for topic in wanted(arguments)? {
        let created = bus.create_topic(&topic)?;
        let old = there.iter().find(|old| old.name == topic.name);
        let partitions = old.map_or(topic.partitions, |old| old.partitions);
        match arguments.format {
            Format::Json => {
                let line = json!({"name": topic.name, "partitions": partitions, "created": created});
                writeln!(out, "{line}")?;
            }
            Format::Text if created => writeln!(out, "created {} with {}", topic.name, counted(partitions))?,
            Format::Text => writeln!(out, "{} is there already, with {}", topic.name, counted(partitions))?,
        }
    }
    Ok(EXIT_DONE)
}

/// What to create, each name once.
fn wanted(arguments: &CreateArguments) -> Result<Vec<TopicSpec>, Misuse> {
    let mut topics = if arguments.all { own_topics(arguments.partitions) } else { Vec::new() };
    for name in &arguments.names {
        if topics.iter().any(|topic| topic.name == *name) {
            return Err(Misuse(format!("topic `{name}` is named twice; leave one out")));
        }
        let (name, settings) = (name.clone(), default_settings(name));
        topics.push(TopicSpec { name, partitions: arguments.partitions, replication: 1, settings });
    }
    for topic in &mut topics {
        topic.replication = arguments.replication;
        topic.settings.retain(|(key, _)| !arguments.settings.iter().any(|(set, _)| set == key));
        topic.settings.extend(arguments.settings.iter().cloned());
    }
    Ok(topics)
}

fn counted(partitions: i32) -> String {
    format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" })
}
