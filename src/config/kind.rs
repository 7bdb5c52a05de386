//! The kinds of value a key can have: reading one, its allowed range in words, how it is written.
//!
//! A value comes from the file (typed by TOML) or from a variable (always text). Both end in [`Kind::read`], so a bad
//! value is judged alike wherever it stands.
//!
//! Deliberately not here: whether a file exists, and rules between keys (`check.rs` and the roles have those).

use super::quantity::{parse_bytes, parse_duration, render_bytes, render_duration};
use amoskys_bus::TopicSpec;
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// TCP port, 1 to 65535.
    Port,
    Integer {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// `10 MiB`, or a whole number of bytes.
    Bytes {
        min: u64,
        max: u64,
    },
    /// `5s`.
    Duration {
        min: Duration,
        max: Duration,
    },
    Bool,
    Choice(&'static [&'static str]),
    /// Text that is not empty.
    Text {
        example: &'static str,
    },
    /// Letters, digits, `.`, `_` and `-`, at most 249, as Kafka has it.
    Topic,
    /// Address of a log, as `--bus` takes it.
    Bus,
    /// IP address to listen on.
    Ip,
    Path {
        example: &'static str,
        /// What must be there when the role starts; `None`: nothing, it is made.
        needs: Option<Needed>,
    },
    /// Table of texts handed on as they are.
    Properties,
    List(ListOf),
}

/// Texts or numbers, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct ListOf {
    /// Split at commas.
    pub example: &'static str,
    pub allowed: &'static str,
    /// What is wrong with them, in words that follow the key's name.
    pub judge: fn(&[String]) -> Result<(), String>,
}

/// Why a path must exist. A role does not start without it; `config check` only warns, as it may run elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    pub what: &'static str,
    pub hint: &'static str,
    /// Needed only when this key of the same section has this value.
    pub when: Option<(&'static str, &'static str)>,
}

/// A value that its kind allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Integer(u64),
    Duration(Duration),
    Bool(bool),
    Text(String),
    Pairs(Vec<(String, String)>),
    List(Vec<String>),
}

/// A value as it stands in the file or a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    Integer(i128),
    Bool(bool),
    Text(String),
    Pairs(Vec<(String, String)>),
    List(Vec<String>),
    /// Something that no key takes, named: "a date".
    Other(&'static str),
}

const BUS_FORMS: &str = "kafka://host:port[,host:port], nats://host:port[,host:port] or local:PATH";

impl Kind {
    /// Judges a value. The error says what is wrong with it, in words that follow the key's name.
    pub fn read(&self, written: &Written) -> Result<Value, String> {
        match (self, written) {
            (Kind::Port, Written::Integer(number)) => in_range(*number, 1, 65535).map(Value::Integer),
            (Kind::Integer { min, max, .. }, Written::Integer(number)) => {
                in_range(*number, *min, *max).map(Value::Integer)
            }
            (Kind::Bytes { min, max }, Written::Integer(number)) => in_range(*number, *min, *max).map(Value::Integer),
            (Kind::Bytes { min, max }, Written::Text(text)) => {
                let bytes = parse_bytes(text).map_err(|wrong| format!("is not an amount of bytes: {wrong}"))?;
                in_range(bytes.into(), *min, *max).map(Value::Integer)
            }
            (Kind::Duration { min, max }, Written::Text(text)) => read_duration(text, *min, *max),
            (Kind::Bool, Written::Bool(value)) => Ok(Value::Bool(*value)),
            (Kind::Choice(choices), Written::Text(text)) if choices.contains(&text.as_str()) => {
                Ok(Value::Text(text.clone()))
            }
            (Kind::Choice(_), Written::Text(_)) => Err("is none of the choices".to_owned()),
            (Kind::Properties, Written::Pairs(pairs)) => Ok(Value::Pairs(pairs.clone())),
            (Kind::List(of), Written::List(items)) => (of.judge)(items).map(|()| Value::List(items.clone())),
            (Kind::Text { .. } | Kind::Topic | Kind::Bus | Kind::Ip | Kind::Path { .. }, Written::Text(text)) => {
                self.read_text(text).map(Value::Text)
            }
            (_, other) => Err(format!("is {}, not {}", other.describe(), self.describe())),
        }
    }

    fn read_text(&self, text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        if text.contains('\0') {
            return Err("holds a zero byte".to_owned());
        }
        match self {
            Kind::Topic if !TopicSpec::is_name(text) => Err("is not the name of a topic".to_owned()),
            Kind::Bus => text.parse::<amoskys_bus::Address>().map(|_| text.to_owned()).map_err(|wrong| short(&wrong)),
            Kind::Ip if text.parse::<std::net::IpAddr>().is_err() => Err("is not an IP address".to_owned()),
            _ => Ok(text.to_owned()),
        }
    }

    /// What a variable's text stands for. Lists and pairs are split at commas.
    pub fn written_in_variable(&self, text: &str) -> Written {
        let text = text.trim();
        match self {
            Kind::Port | Kind::Integer { .. } | Kind::Bytes { .. } => match text.parse::<i128>() {
                Ok(number) => Written::Integer(number),
                Err(_) => Written::Text(text.to_owned()),
            },
            Kind::Bool => match text {
                "true" => Written::Bool(true),
                "false" => Written::Bool(false),
                _ => Written::Text(text.to_owned()),
            },
            Kind::Properties => pairs(text).map_or_else(|| Written::Text(text.to_owned()), Written::Pairs),
            Kind::List(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Written::List(items.map(str::to_owned).collect())
            }
            _ => Written::Text(text.to_owned()),
        }
    }

    /// Allowed range in words.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Port => "a whole number from 1 to 65535".to_owned(),
            Kind::Integer { min, max, unit } => format!("a whole number from {min} to {max} ({unit})"),
            Kind::Bytes { min, max } => format!("{} to {}", render_bytes(*min), render_bytes(*max)),
            Kind::Duration { min, max } => format!("{} to {}", render_duration(*min), render_duration(*max)),
            Kind::Bool => "true or false".to_owned(),
            Kind::Choice(choices) => choices.join(", "),
            Kind::Text { .. } => "text that is not empty".to_owned(),
            Kind::Topic => format!("letters, digits, `.`, `_`, `-`; at most {}", TopicSpec::NAME_BYTES_MAX),
            Kind::Bus => BUS_FORMS.to_owned(),
            Kind::Ip => "an IPv4 or IPv6 address".to_owned(),
            Kind::Path { needs: Some(needed), .. } => format!("path of {}", needed.what),
            Kind::Path { needs: None, .. } => "a path".to_owned(),
            Kind::Properties => "a table of texts".to_owned(),
            Kind::List(of) => of.allowed.to_owned(),
        }
    }

    /// A value to show where the key has no default.
    pub fn example(&self) -> &'static str {
        match self {
            Kind::Port => "9100",
            Kind::Integer { .. } => "1",
            Kind::Bytes { .. } => "1 MiB",
            Kind::Duration { .. } => "1s",
            Kind::Bool => "true",
            Kind::Choice(choices) => choices.first().copied().unwrap_or_default(),
            Kind::Text { example } | Kind::Path { example, .. } => example,
            Kind::Topic => "amoskys.telemetry.process.v1",
            Kind::Bus => "kafka://127.0.0.1:9092",
            Kind::Ip => "127.0.0.1",
            Kind::Properties => "\"socket.keepalive.enable\" = \"true\"",
            Kind::List(of) => of.example,
        }
    }

    /// The value on the right of `=` in the file.
    pub fn in_toml(&self, value: &str) -> String {
        match self {
            Kind::Port | Kind::Integer { .. } | Kind::Bool => value.to_owned(),
            Kind::Properties => format!("{{ {value} }}"),
            Kind::List(_) => {
                let items: Vec<String> = value.split(',').map(|item| format!("\"{item}\"")).collect();
                format!("[{}]", items.join(", "))
            }
            _ => format!("\"{value}\""),
        }
    }

    /// The value on the right of `=` in a variable.
    pub fn in_variable(&self, value: &str) -> String {
        match self {
            Kind::Properties => value.replace('"', "").replace(" = ", "="),
            _ => value.to_owned(),
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Kind::Port | Kind::Integer { .. } => "a whole number",
            Kind::Bytes { .. } => "an amount of bytes",
            Kind::Duration { .. } => "a duration with its unit, as text",
            Kind::Bool => "true or false",
            Kind::Properties => "a table of texts",
            Kind::List(_) => "a list",
            _ => "text",
        }
    }
}

impl Written {
    fn describe(&self) -> &'static str {
        match self {
            Written::Integer(_) => "a number",
            Written::Bool(_) => "true or false",
            Written::Text(_) => "text",
            Written::Pairs(_) => "a table",
            Written::List(_) => "a list",
            Written::Other(name) => name,
        }
    }
}

fn in_range(number: i128, min: u64, max: u64) -> Result<u64, String> {
    let number_u64 = u64::try_from(number).ok().filter(|number| (min..=max).contains(number));
    number_u64.ok_or_else(|| "is out of range".to_owned())
}

fn read_duration(text: &str, min: Duration, max: Duration) -> Result<Value, String> {
    let duration = parse_duration(text).map_err(|wrong| format!("is not a duration: {wrong}"))?;
    if (min..=max).contains(&duration) { Ok(Value::Duration(duration)) } else { Err("is out of range".to_owned()) }
}

/// `a=b,c=d`; an empty text is no pairs.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
        .collect()
}

/// The bus's message repeats the forms, which stand on their own line here.
fn short(message: &str) -> String {
    let message = message.split("; write ").next().unwrap_or(message);
    format!("is not the address of a log: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Written {
        Written::Text(text.to_owned())
    }

    #[test]
    fn numbers_hold_at_both_ends_of_their_range() {
        let retries = Kind::Integer { min: 0, max: 20, unit: "tries" };
        for (kind, good, bad) in
            [(Kind::Port, vec![1, 65535], vec![0, 65536, -1, i128::MAX]), (retries, vec![0, 20], vec![21, -1])]
        {
            for number in good {
                assert!(kind.read(&Written::Integer(number)).is_ok(), "{kind:?} {number}");
            }
            for number in bad {
                assert_eq!(
                    kind.read(&Written::Integer(number)),
                    Err("is out of range".to_owned()),
                    "{kind:?} {number}"
                );
            }
        }
    }

    #[test]
    fn an_envelope_is_1_byte_to_10_mebibytes_however_it_is_written() {
        let kind = Kind::Bytes { min: 1, max: 10 << 20 };
        for good in [Written::Integer(1), Written::Integer(10 << 20), text("10 MiB"), text("1 B")] {
            assert!(kind.read(&good).is_ok(), "{good:?}");
        }
        for bad in [Written::Integer(0), Written::Integer((10 << 20) + 1), text("11 MiB"), text("0"), text("ten")] {
            assert!(kind.read(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        assert_eq!(Kind::Port.read(&text("9101")), Err("is text, not a whole number".to_owned()));
        assert_eq!(Kind::Topic.read(&Written::Integer(5)), Err("is a number, not text".to_owned()));
        assert_eq!(Kind::Bool.read(&Written::Other("a date")), Err("is a date, not true or false".to_owned()));
        assert_eq!(
            Kind::Duration { min: Duration::ZERO, max: Duration::MAX }.read(&Written::Integer(5)),
            Err("is a number, not a duration with its unit, as text".to_owned())
        );
    }

    #[test]
    fn texts_are_judged_by_their_kind() {
        for (kind, good, bad) in [
            (Kind::Topic, vec!["a.b_c-1"], vec!["", " ", "a b", "..", "ä"]),
            (Kind::Bus, vec!["kafka://a:1", "nats://a:1", "local:x"], vec!["localhost:50051", "nats://a"]),
            (Kind::Ip, vec!["127.0.0.1", "::1"], vec!["localhost", "1.2.3"]),
            (Kind::Choice(&["auto", "on"]), vec!["auto"], vec!["Auto", ""]),
            (Kind::Path { example: "/x", needs: None }, vec!["/x", "y"], vec!["", "a\0b"]),
        ] {
            for value in good {
                assert!(kind.read(&text(value)).is_ok(), "{kind:?} {value}");
            }
            for value in bad {
                assert!(kind.read(&text(value)).is_err(), "{kind:?} {value}");
            }
        }
        assert!(Kind::Topic.read(&text(&"a".repeat(250))).is_err());
    }

    #[test]
    fn a_variable_is_read_as_its_kind_wants() {
        assert_eq!(Kind::Port.written_in_variable(" 80 "), Written::Integer(80));
        assert_eq!(Kind::Port.written_in_variable("eighty"), text("eighty"));
        assert_eq!(Kind::Bool.written_in_variable("true"), Written::Bool(true));
        assert_eq!(
            Kind::Properties.written_in_variable("a=b, c = d=e"),
            Written::Pairs(vec![("a".into(), "b".into()), ("c".into(), "d=e".into())])
        );
        assert_eq!(Kind::Properties.written_in_variable("a"), text("a"));
    }
}
