//! A schema registry's HTTP interface, as Confluent published it and others (Apicurio, Karapace, Redpanda) serve it.
//!
//! Waits for answers in the caller's thread. Deliberately not here: registering schemas, compatibility rules, what the schemas
//! mean. Limits: `ANSWER_BYTES_MAX` an answer, `REFERENCES_MAX` schemas that one refers to, `VERSIONS_MAX` versions of a
//! subject; user and password from the variable `AMOSKYS_REGISTRY_AUTH` (`user:password`), for every registry the same.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const ANSWER_BYTES_MAX: u64 = 8 << 20;
const REFERENCES_MAX: usize = 64;
const VERSIONS_MAX: usize = 100;
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const AUTH_VARIABLE: &str = "AMOSKYS_REGISTRY_AUTH";

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers, or not now: retrying may help.
    #[error("schema registry {url} does not answer: {detail}")]
    Unreachable { url: String, detail: String },
    #[error("schema registry {url} refuses: {detail}")]
    Refused { url: String, detail: String },
    /// It has no such subject or schema.
    #[error("schema registry {url} knows no {what}")]
    Unknown { url: String, what: String },
    #[error("schema registry {url} answers what this interface does not have: {detail}")]
    Answer { url: String, detail: String },
}

/// What a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Avro,
    Protobuf,
    Json,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            // Not said of Avro, which was first.
            "" | "AVRO" => Some(Self::Avro),
            "PROTOBUF" => Some(Self::Protobuf),
            "JSON" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A schema that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub id: u32,
    /// Among those of its subject; 0 when it was asked for by its number.
    pub version: u32,
    pub kind: Kind,
    pub text: String,
    /// Texts that it imports, by the names by which it does.
    pub references: BTreeMap<String, String>,
}

/// A client of one registry.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
    agent: ureq::Agent,
}

impl Registry {
    /// `url` is what the paths of the interface are under, such as `http://registry:8081`.
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).http_status_as_error(false);
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All versions of a subject, the oldest first.
    pub fn versions(&self, subject: &str) -> Result<Vec<Registered>, RegistryError> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let what = format!("subject `{subject}`");
        let answer = self.get(&path, &what)?;
        let numbers: Option<Vec<u64>> = answer.as_array().and_then(|all| all.iter().map(Value::as_u64).collect());
        let mut numbers = numbers.filter(|all| !all.is_empty()).ok_or_else(|| self.strange("no list of versions"))?;
        numbers.sort_unstable();
        // The newest, where there are more than anybody compares.
        numbers.drain(..numbers.len().saturating_sub(VERSIONS_MAX));
        numbers
            .into_iter()
            .map(|number| self.registered(&self.get(&format!("{path}/{number}"), &what)?, None))
            .collect()
    }

    /// The schema of this number.
    pub fn by_id(&self, id: u32) -> Result<Registered, RegistryError> {
        let answer = self.get(&format!("/schemas/ids/{id}"), &format!("schema {id}"))?;
        self.registered(&answer, Some(id))
    }

    fn registered(&self, answer: &Value, id: Option<u32>) -> Result<Registered, RegistryError> {
        let number = |name: &str| answer[name].as_u64().and_then(|number| u32::try_from(number).ok());
        let id = id.or_else(|| number("id")).ok_or_else(|| self.strange("a schema without its number"))?;
        let text = answer["schema"].as_str().ok_or_else(|| self.strange("a schema without its text"))?.to_owned();
        let kind = answer["schemaType"].as_str().unwrap_or_default();
        let kind = Kind::of(kind).ok_or_else(|| self.strange(&format!("a schema of type {kind}")))?;
        let mut references = BTreeMap::new();
        self.follow(answer, &mut references)?;
        Ok(Registered { id, version: number("version").unwrap_or(0), kind, text, references })
    }

    fn follow(&self, answer: &Value, found: &mut BTreeMap<String, String>) -> Result<(), RegistryError> {
        for reference in answer["references"].as_array().into_iter().flatten() {
            let text = |key: &str| reference[key].as_str().ok_or_else(|| self.strange("a reference to nothing"));
            let (name, subject) = (text("name")?.to_owned(), text("subject")?);
            if found.contains_key(&name) {
                continue;
            }
            if found.len() >= REFERENCES_MAX {
                return Err(self.strange(&format!("a schema that refers to more than {REFERENCES_MAX} others")));
            }
            let version = reference["version"].as_u64().ok_or_else(|| self.strange("a reference to no version"))?;
            let path = format!("/subjects/{}/versions/{version}", escaped(subject));
            let other = self.get(&path, &format!("version {version} of subject `{subject}`"))?;
            let text = other["schema"].as_str().ok_or_else(|| self.strange("a schema without its text"))?;
            found.insert(name, text.to_owned());
            self.follow(&other, found)?;
        }
        Ok(())
    }

    fn get(&self, path: &str, what: &str) -> Result<Value, RegistryError> {
        let url = || self.url.clone();
        let unreachable = |error: ureq::Error| RegistryError::Unreachable { url: url(), detail: error.to_string() };
        let mut request = self
            .agent
            .get(format!("{}{path}", self.url))
            .header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Ok(auth) = std::env::var(AUTH_VARIABLE) {
            request = request.header("Authorization", format!("Basic {}", STANDARD.encode(auth)));
        }
        let mut response = request.call().map_err(unreachable)?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        match response.status().as_u16() {
            200 => serde_json::from_str(&body).map_err(|error| self.strange(&error.to_string())),
            404 if is_registrys(&body) => Err(RegistryError::Unknown { url: url(), what: what.to_owned() }),
            // Somebody else's: what stands before it, or before it has begun.
            404 => Err(RegistryError::Unreachable { url: url(), detail: response.status().to_string() }),
            401 | 403 => {
                let detail = format!("{}; {AUTH_VARIABLE} holds user:password", response.status());
                Err(RegistryError::Refused { url: url(), detail })
            }
            400..500 => Err(RegistryError::Refused { url: url(), detail: response.status().to_string() }),
            _ => Err(RegistryError::Unreachable { url: url(), detail: response.status().to_string() }),
        }
    }

    fn strange(&self, detail: &str) -> RegistryError {
        RegistryError::Answer { url: self.url.clone(), detail: detail.to_owned() }
    }
}

/// Whether a refusal is in the interface's words.
fn is_registrys(body: &str) -> bool {
    serde_json::from_str::<Value>(body).is_ok_and(|answer| answer["error_code"].is_number())
}

/// A subject as a part of a path.
fn escaped(subject: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    subject.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_part_of_a_path() {
        assert_eq!(escaped("acme.logins-value"), "acme.logins-value");
        assert_eq!(escaped("a/b ü"), "a%2Fb%20%C3%BC");
    }

    #[test]
    fn nobody_there_is_told_with_its_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        drop(listener);
        let told = Registry::new(&url).by_id(1).expect_err("nobody").to_string();
        assert!(
            told.starts_with(&format!("schema registry {} does not answer: ", url.trim_end_matches('/'))),
            "{told}"
        );
    }
}
