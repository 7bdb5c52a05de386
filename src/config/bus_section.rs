//! `[bus]`, which both roles have: TLS, SASL and properties of the client, passed through to the log.
//!
//! The names follow librdkafka's. Properties are not judged here: the log's client does that when it connects.

use super::{
    check::Values,
    kind::{Kind, Needed},
    problem::Problem,
    schema::{Fallback, Key, Section},
};
use amoskys_bus::Security;

const BUS: &str = "bus";

pub const SECTION: Section = Section {
    name: BUS,
    about: "How to reach the log: TLS, logins, and properties handed to librdkafka as they are (`amoskys.fetch` is ours: `librdkafka` has it read all records; NATS knows credentials.file, nkey.seed.file and token.file). `local:` ignores it.",
    keys: KEYS,
};

const PEM: Needed = Needed { what: "a PEM file", hint: "the path of a file that is there", when: None };

const KEYS: &[Key] = &[
    Key::new(
        "security_protocol",
        Kind::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        Fallback::Value("plaintext"),
        "Whether connections are encrypted and authenticated.",
    ),
    Key::new(
        "ca_file",
        Kind::Path { example: "/etc/amoskys/tls/ca.pem", needs: Some(PEM) },
        Fallback::Unset("the system's authorities"),
        "Authorities that sign the brokers' certificates.",
    ),
    Key::new(
        "certificate_file",
        Kind::Path { example: "/etc/amoskys/tls/client.pem", needs: Some(PEM) },
        Fallback::Unset("no client certificate"),
        "The client's certificate; goes with `key_file`.",
    ),
    Key::new(
        "key_file",
        Kind::Path { example: "/etc/amoskys/tls/client.key", needs: Some(PEM) },
        Fallback::Unset("no client certificate"),
        "The key of `certificate_file`.",
    ),
    Key::new(
        "sasl_mechanism",
        Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        Fallback::Unset("none"),
        "How the client proves who it is; needed by the `sasl_` protocols.",
    ),
    Key::new("username", Kind::Text { example: "amoskys" }, Fallback::Unset("none"), "SASL user."),
    Key::new(
        "password",
        Kind::Text { example: "…" },
        Fallback::Unset("none"),
        "SASL password; better given as a variable. Never printed.",
    )
    .secret(),
    Key::new(
        "properties",
        Kind::Properties,
        Fallback::Unset("none"),
        "Properties of librdkafka's client, or of a NATS login; they win over the program's own. Values are never printed.",
    )
    .secret(),
];

#[derive(Debug, Clone, Default)]
pub struct BusConfig {
    pub security: Security,
    /// Properties of the client, as they are. May hold secrets.
    pub properties: Vec<(String, String)>,
}

/// Which keys need which others.
pub fn rules(values: &Values) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut require = |key: &'static str, with: &'static str, because: String| {
        if values.text(BUS, with).is_none() && !values.refused(BUS, with) {
            problems.push(values.broken_rule(
                BUS,
                key,
                format!("needs `{with}` {because}"),
                format!("{with} under [bus]"),
            ));
        }
    };
    if values.text(BUS, "security_protocol").is_some_and(|protocol| protocol.starts_with("sasl_")) {
        for with in ["sasl_mechanism", "username", "password"] {
            require("security_protocol", with, "with a sasl_ protocol".to_owned());
        }
    }
    for (key, with) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        if values.text(BUS, key).is_some() {
            require(key, with, "beside it".to_owned());
        }
    }
    problems
}

pub fn build(values: &Values) -> BusConfig {
    let text = |key| values.text(BUS, key);
    let security = Security {
        protocol: text("security_protocol"),
        ca_file: text("ca_file"),
        certificate_file: text("certificate_file"),
        key_file: text("key_file"),
        sasl_mechanism: text("sasl_mechanism"),
        username: text("username"),
        password: text("password"),
    };
    BusConfig { security, properties: values.pairs(BUS, "properties") }
}
