//! `--bus` addresses: `kafka://host:port[,host:port]`, `nats://host:port[,host:port]` and `local:PATH`. Parsing only.

use std::{fmt, path::PathBuf, str::FromStr};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port` of the brokers to ask first.
    Kafka { brokers: Vec<String> },
    /// `host:port` of the servers to ask first.
    Nats { servers: Vec<String> },
    /// Folder of the embedded log.
    Local { path: PathBuf },
}

const FORMS: &str = "write kafka://host:port[,host:port], nats://host:port[,host:port] or local:PATH";

impl FromStr for Address {
    type Err = String;

    /// Says what to write instead when the text is no address.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(list) = text.strip_prefix("kafka://") {
            Ok(Address::Kafka { brokers: hosts(text, list)? })
        } else if let Some(list) = text.strip_prefix("nats://") {
            Ok(Address::Nats { servers: hosts(text, list)? })
        } else if let Some(path) = text.strip_prefix("local:") {
            if path.is_empty() {
                Err(format!("`{text}` names no folder; {FORMS}"))
            } else {
                Ok(Address::Local { path: path.into() })
            }
        } else {
            Err(format!("`{text}` is not the address of a log; {FORMS}"))
        }
    }
}

/// The `host:port,host:port` of an address.
fn hosts(text: &str, list: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<String> = list.trim_end_matches('/').split(',').map(str::to_owned).collect();
    match hosts.iter().find(|host| !is_host_port(host)) {
        Some(bad) => Err(format!("`{bad}` in `{text}` is not host:port with a port of 1 to 65535; {FORMS}")),
        None => Ok(hosts),
    }
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Kafka { brokers } => write!(f, "kafka://{}", brokers.join(",")),
            Address::Nats { servers } => write!(f, "nats://{}", servers.join(",")),
            Address::Local { path } => write!(f, "local:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_taken_print_back_as_they_came() {
        for text in [
            "kafka://a:9092",
            "kafka://a:1,[::1]:65535",
            "nats://a:1,b:2",
            "local:/var/lib/amoskys/log",
            "local:relative",
        ] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn forms_that_are_refused_say_what_to_write() {
        for text in [
            "",
            "kafka://",
            "kafka://a",
            "kafka://a:0",
            "kafka://a:65536",
            "kafka://a:1,,b:2",
            "nats://a",
            "local:",
            "a:9092",
        ] {
            assert!(text.parse::<Address>().expect_err(text).contains("write kafka://"), "{text}");
        }
    }
}
