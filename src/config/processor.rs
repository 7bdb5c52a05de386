//! The processor's file: its table of keys, its rules between keys, and the [`ProcessorConfig`] that comes out.
//!
//! Deliberately not here: the SQL folder, which is an argument of the command.

use super::{
    bus_section::{self, BusConfig},
    check::{Input, Values, values},
    kind::{Kind, Needed},
    problem::Problem,
    schema::{Fallback, Key, Role, Section},
};
use amoskys_bus::{Address, Delivery, StartAt};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const MIB: u64 = 1 << 20;
/// Shorter in a table.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const PROCESSOR: Role = Role {
    name: "processor",
    about: "Read by `amoskys process SQL_DIR --config FILE`; optional, every key has a default.",
    sections: &[
        Section { name: "processor", about: "How the processor reads, checks and commits.", keys: PROCESSOR_KEYS },
        bus_section::SECTION,
    ],
};

const KEYS_DIR: Needed = Needed {
    what: "the folder of the agents' public keys",
    hint: "mkdir -p PATH and copy each agent's public key there (`amoskys keygen` wrote it beside the key), or verify = \"off\"",
    when: Some(("verify", "required")),
};

const ONNXRUNTIME: Needed = Needed {
    what: "ONNX Runtime's shared library",
    hint: "make setup, then the path of libonnxruntime.so",
    when: None,
};

const PROCESSOR_KEYS: &[Key] = &[
    Key::new(
        "bus_address",
        Kind::Bus,
        Fallback::Value("kafka://127.0.0.1:9092"),
        "The log to read from and write to; `--bus` overrides it.",
    ),
    Key::new(
        "group",
        Kind::Text { example: "amoskys" },
        Fallback::Value("amoskys"),
        "Consumer group; processors of one group share the partitions. `--group` overrides it.",
    ),
    Key::new(
        "instance",
        Kind::Text { example: "processor-1" },
        Fallback::Unset("a random name"),
        "Name of this member, stable over restarts, so that it takes its partitions back at once.",
    ),
    Key::new(
        "delivery",
        Kind::Choice(&["exactly_once", "at_least_once"]),
        Fallback::Value("exactly_once"),
        "Whether outputs and positions are committed in one transaction.",
    ),
    Key::new(
        "start_at",
        Kind::Choice(&["earliest", "latest"]),
        Fallback::Value("earliest"),
        "Where a partition begins that the group has never committed.",
    ),
    Key::new(
        "verify",
        Kind::Choice(&["required", "off"]),
        Fallback::Value("required"),
        "Whether an envelope must carry a good signature of a known key; one that does not is a dead letter.",
    ),
    Key::new(
        "keys_dir",
        Kind::Path { example: "/etc/amoskys/public-keys", needs: Some(KEYS_DIR) },
        Fallback::Value("/etc/amoskys/public-keys"),
        "Folder of the agents' public keys, looked at while the processor runs (docs/keys.md).",
    ),
    Key::new(
        "models_dir",
        Kind::Path { example: "models", needs: None },
        Fallback::Value("models"),
        "Folder of models, `NAME/VERSION/model.onnx`.",
    ),
    Key::new(
        "onnxruntime",
        Kind::Path { example: "/usr/lib/libonnxruntime.so", needs: Some(ONNXRUNTIME) },
        Fallback::Unset("the one that `make setup` installed"),
        "ONNX Runtime's shared library.",
    ),
    Key::new(
        "workers",
        Kind::Integer { min: 1, max: 256, unit: "threads" },
        Fallback::Unset("one for each core"),
        "Workers of this process: each is a member of the group with partitions, windows and models of its own.",
    ),
    Key::new(
        "commit_interval",
        Kind::Duration { min: ms(10), max: ms(60_000) },
        Fallback::Value("1s"),
        "Longest time between two commits; a closed window commits at once, unless more is there to be read.",
    ),
    Key::new(
        "session_timeout",
        Kind::Duration { min: ms(500), max: ms(300_000) },
        Fallback::Value("10s"),
        "A member that is silent for this long loses its partitions to others; a Kafka broker has bounds of its own.",
    ),
    Key::new(
        "transaction_timeout",
        Kind::Duration { min: ms(1_000), max: ms(900_000) },
        Fallback::Value("10s"),
        "What a dead member left unfinished holds others up for at most this long.",
    ),
    Key::new(
        "dead_letter_topic",
        Kind::Topic,
        Fallback::Value("amoskys.deadletter.v1"),
        "Topic of records that could not be read, with the reason.",
    ),
    Key::new(
        "panes_topic",
        Kind::Topic,
        Fallback::Value("amoskys.panes.v1"),
        "Compacted topic of what open windows hold, where they are longer than a stream's `replay_max`.",
    ),
    Key::new(
        "prefetch_bytes_max",
        Kind::Bytes { min: MIB, max: 4096 * MIB },
        Fallback::Value("8 MiB"),
        "Most bytes of records fetched ahead, all partitions together.",
    ),
    Key::new("listen", Kind::Ip, Fallback::Value("127.0.0.1"), "Address that metrics and health are served on."),
    Key::new("metrics_port", Kind::Port, Fallback::Value("9102"), "Port of `/metrics`."),
    Key::new(
        "health_port",
        Kind::Port,
        Fallback::Value("8082"),
        "Port of `/healthz` and `/readyz`; may be the same as `metrics_port`.",
    ),
];

/// What a processor needs to run; made by [`check`] only, so it cannot be out of range.
#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    pub bus_address: Address,
    pub group: String,
    /// `None`: a random name.
    pub instance: Option<String>,
    pub delivery: Delivery,
    pub start_at: StartAt,
    /// `None`: signatures are not looked at.
    pub keys_dir: Option<PathBuf>,
    pub models_dir: PathBuf,
    /// `None`: look where `make setup` puts it.
    pub onnxruntime: Option<PathBuf>,
    /// `None`: one for each core.
    pub workers: Option<usize>,
    pub commit_interval: Duration,
    pub session_timeout: Duration,
    pub transaction_timeout: Duration,
    pub dead_letter_topic: String,
    pub panes_topic: String,
    pub prefetch_bytes_max: usize,
    pub listen: IpAddr,
    pub metrics_port: u16,
    pub health_port: u16,
    pub bus: BusConfig,
}

impl ProcessorConfig {
    pub fn metrics_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.metrics_port)
    }

    pub fn health_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.health_port)
    }
}

/// Reads and judges the processor's configuration; `None` when a value was refused.
pub fn check(input: &Input<'_>) -> (Option<ProcessorConfig>, Vec<Problem>) {
    let (values, mut problems) = values(&PROCESSOR, input);
    problems.extend(bus_section::rules(&values));
    (build(&values), problems)
}

fn build(values: &Values) -> Option<ProcessorConfig> {
    const PROCESSOR: &str = "processor";
    let keys_dir = values.path(PROCESSOR, "keys_dir")?;
    Some(ProcessorConfig {
        bus_address: values.bus(PROCESSOR, "bus_address")?,
        group: values.text(PROCESSOR, "group")?,
        instance: values.text(PROCESSOR, "instance"),
        delivery: match values.text(PROCESSOR, "delivery")?.as_str() {
            "at_least_once" => Delivery::AtLeastOnce,
            _ => Delivery::ExactlyOnce,
        },
        start_at: match values.text(PROCESSOR, "start_at")?.as_str() {
            "latest" => StartAt::Latest,
            _ => StartAt::Earliest,
        },
        keys_dir: (values.text(PROCESSOR, "verify")? == "required").then_some(keys_dir),
        models_dir: values.path(PROCESSOR, "models_dir")?,
        onnxruntime: values.path(PROCESSOR, "onnxruntime"),
        workers: values.number(PROCESSOR, "workers"),
        commit_interval: values.duration(PROCESSOR, "commit_interval")?,
        session_timeout: values.duration(PROCESSOR, "session_timeout")?,
        transaction_timeout: values.duration(PROCESSOR, "transaction_timeout")?,
        dead_letter_topic: values.text(PROCESSOR, "dead_letter_topic")?,
        panes_topic: values.text(PROCESSOR, "panes_topic")?,
        prefetch_bytes_max: values.number(PROCESSOR, "prefetch_bytes_max")?,
        listen: values.ip(PROCESSOR, "listen")?,
        metrics_port: values.number(PROCESSOR, "metrics_port")?,
        health_port: values.number(PROCESSOR, "health_port")?,
        bus: bus_section::build(values),
    })
}
