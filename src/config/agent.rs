//! The agent's file: its table of keys.
//!
//! Every bound of the agent is a key here, with its unit. What comes out of the file is in `agent_config.rs`.

use super::{
    bus_section,
    kind::Kind,
    process_section,
    schema::{Fallback, Key, Role, Section},
    syscall_section,
};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Shorter in a table.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const AGENT: Role = Role {
    name: "agent",
    about: "Read by `amoskys agent --config FILE` and `amoskys run --agent FILE`.",
    sections: &[
        Section { name: "agent", about: "Who the agent is, what it keeps, how it sends.", keys: AGENT_KEYS },
        process_section::SECTION,
        syscall_section::SECTION,
        bus_section::SECTION,
    ],
};

const AGENT_KEYS: &[Key] = &[
    Key::new(
        "host_id",
        Kind::Text { example: "web-1" },
        Fallback::Unset("the host's name"),
        "The host that events are about; also the key of every record.",
    ),
    Key::new(
        "agent_id",
        Kind::Text { example: "web-1-agent" },
        Fallback::Unset("the value of `host_id`"),
        "Name of this agent, stable over restarts.",
    ),
    Key::new(
        "cert_dir",
        Kind::Path { example: "/etc/amoskys/keys", needs: None },
        Fallback::Value("/etc/amoskys/keys"),
        "Folder of the agent's keys.",
    )
    .formerly("IS_CERT_DIR"),
    Key::new(
        "sign",
        Kind::Bool,
        Fallback::Value("true"),
        "Whether envelopes are signed. Without a signature a processor takes them only with `verify = \"off\"`.",
    ),
    Key::new(
        "signing_key",
        Kind::Path { example: "/etc/amoskys/keys/agent.ed25519.pem", needs: None },
        Fallback::Unset("`agent.ed25519.pem` in `cert_dir`"),
        "The ed25519 key that signs envelopes (PKCS#8, PEM); mode 0600. SIGHUP has another one taken (docs/keys.md).",
    ),
    Key::new(
        "wal_path",
        Kind::Path { example: "/var/lib/amoskys/wal", needs: None },
        Fallback::Value("/var/lib/amoskys/wal"),
        "Folder of envelopes that the log has not acknowledged; made when missing.",
    )
    .formerly("IS_WAL_PATH"),
    Key::new(
        "wal_bytes_max",
        Kind::Bytes { min: MIB, max: 1024 * GIB },
        Fallback::Value("256 MiB"),
        "Most bytes of envelopes kept while the log is away.",
    ),
    Key::new(
        "wal_full",
        Kind::Choice(&["drop_oldest", "block"]),
        Fallback::Value("drop_oldest"),
        "What gives way at `wal_bytes_max`: the oldest envelope, counted; or the source, which waits while the kernel \
         drops messages, counted.",
    ),
    Key::new(
        "wal_fsync_interval",
        Kind::Duration { min: ms(0), max: ms(60_000) },
        Fallback::Value("1s"),
        "Longest time an envelope is not yet synced to disk, where only a loss of power could lose it; `0ms` syncs each.",
    ),
    Key::new(
        "bus_address",
        Kind::Bus,
        Fallback::Value("kafka://127.0.0.1:9092"),
        "The log to publish to; `--bus` overrides it.",
    )
    .formerly("IS_BUS_ADDRESS"),
    Key::new(
        "max_env_bytes",
        Kind::Bytes { min: 1, max: 10 * MIB },
        Fallback::Value("1 MiB"),
        "Most bytes of one envelope; an event that alone is larger is dropped, counted.",
    )
    .formerly("IS_MAX_ENV_BYTES"),
    Key::new(
        "send_rate",
        Kind::Integer { min: 0, max: 100_000_000, unit: "events per second; 0 does not limit" },
        Fallback::Value("0"),
        "Most events published in a second; one second's worth may go at once.",
    )
    .formerly("IS_SEND_RATE"),
    Key::new(
        "retry_max",
        Kind::Integer { min: 0, max: 20, unit: "tries after the first" },
        Fallback::Value("10"),
        "Tries for an envelope that the log refuses without saying that waiting helps; then it is dropped, counted. A \
         log that is away never costs an envelope.",
    )
    .formerly("IS_RETRY_MAX"),
    Key::new(
        "retry_timeout",
        Kind::Duration { min: ms(100), max: ms(600_000) },
        Fallback::Value("30s"),
        "How long an envelope may wait for its acknowledgement before the try counts as failed.",
    )
    .formerly("IS_RETRY_TIMEOUT"),
    Key::new(
        "retry_pause_min",
        Kind::Duration { min: ms(1), max: ms(60_000) },
        Fallback::Value("100ms"),
        "First pause after a failure; it doubles, with jitter.",
    ),
    Key::new(
        "retry_pause_max",
        Kind::Duration { min: ms(1), max: ms(600_000) },
        Fallback::Value("10s"),
        "Longest pause between two tries.",
    ),
    Key::new(
        "batch_events_max",
        Kind::Integer { min: 1, max: 100_000, unit: "events" },
        Fallback::Value("500"),
        "Most events in one envelope.",
    ),
    Key::new(
        "batch_age",
        Kind::Duration { min: ms(10), max: ms(60_000) },
        Fallback::Value("250ms"),
        "Longest time an event waits for its envelope to fill.",
    ),
    Key::new(
        "queue_events_max",
        Kind::Integer { min: 1, max: 1_000_000, unit: "events" },
        Fallback::Value("4096"),
        "Events between the source and the batch; when full, the source waits.",
    ),
    Key::new(
        "in_flight_records_max",
        Kind::Integer { min: 1, max: 100_000, unit: "envelopes" },
        Fallback::Value("64"),
        "Most envelopes sent and not acknowledged.",
    ),
    Key::new(
        "in_flight_bytes_max",
        Kind::Bytes { min: 1, max: GIB },
        Fallback::Value("4 MiB"),
        "Most bytes sent and not acknowledged; one envelope is always let through.",
    ),
    Key::new(
        "status_topic",
        Kind::Topic,
        Fallback::Value("amoskys.agent.status.v1"),
        "Topic of the agent's own state: what it saw, dropped and kept.",
    ),
    Key::new(
        "status_interval",
        Kind::Duration { min: ms(100), max: ms(3_600_000) },
        Fallback::Value("30s"),
        "Time between two records of the agent's state.",
    ),
    Key::new(
        "confine",
        Kind::Choice(&["auto", "on", "off"]),
        Fallback::Value("auto"),
        "Whether the agent gives up capabilities and system calls that it does not need, once its sources are open \
         ([confinement](confinement.md)): `auto` as far as the host lets it, with a warning; `on` does not start where something \
         is refused.",
    ),
    Key::new("listen", Kind::Ip, Fallback::Value("127.0.0.1"), "Address that metrics and health are served on."),
    Key::new("metrics_port", Kind::Port, Fallback::Value("9101"), "Port of `/metrics`.").formerly("IS_METRICS_PORT"),
    Key::new(
        "health_port",
        Kind::Port,
        Fallback::Value("8081"),
        "Port of `/healthz` and `/readyz`; may be the same as `metrics_port`.",
    )
    .formerly("IS_HEALTH_PORT"),
];
