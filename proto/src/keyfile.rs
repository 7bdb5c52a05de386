//! A public key's file: the key in PEM, and around it what the key is good for.
//!
//! ```text
//! # key d75a980182b10ab7
//! agents: web-1
//! hosts: web-1 web-1-b
//! -----BEGIN PUBLIC KEY-----
//! …
//! -----END PUBLIC KEY-----
//! revoked: 2026-03-01T12:00:00Z
//! ```
//!
//! Each line is optional and may stand above or below the key; a file that has none is what openssl writes, and openssl
//! reads one that has them above. A line that is none of these is refused: a misspelt `revoked` must not pass for a comment.
//! Deliberately not here: the folder ([`crate::KeyFolder`]), private keys. Limits: `KEY_FILE_BYTES_MAX`, one key a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;

use crate::KeyRingError;
use crate::signer::KEY_FILE_BYTES_MAX;

/// What a key is good for. By itself: for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Agents that may sign with it; any where there are none.
    pub agents: Vec<String>,
    /// Hosts that envelopes signed with it may be about; any where there are none.
    pub hosts: Vec<String>,
    /// Log time, milliseconds since 1970, from which on it is not believed; `i64::MIN`: it never was.
    pub revoked_from_ms: Option<i64>,
}

impl Terms {
    /// The lines that say so, as files hold them. Revocations are appended by hand, so they are not written here.
    pub fn to_lines(&self) -> String {
        let line = |name: &str, ids: &[String]| {
            if ids.is_empty() { String::new() } else { format!("{name}: {}\n", ids.join(" ")) }
        };
        line("agents", &self.agents) + &line("hosts", &self.hosts)
    }

    /// Why it cannot be written: an id in it would not read back.
    pub fn fault(&self) -> Option<String> {
        let is_bad = |id: &&String| id.is_empty() || id.contains(|c: char| c.is_whitespace() || c.is_control());
        let bad = self.agents.iter().chain(&self.hosts).find(is_bad);
        bad.map(|id| format!("{id:?} cannot be in a key's file: ids there are separated by spaces"))
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(':').ok_or_else(|| unknown(line))?;
        let list = match name.trim_end() {
            "agents" => &mut self.agents,
            "hosts" => &mut self.hosts,
            "revoked" => {
                let from_ms = revoked_from_ms(value.trim())?;
                self.revoked_from_ms = Some(self.revoked_from_ms.map_or(from_ms, |other| other.min(from_ms)));
                return Ok(());
            }
            _ => return Err(unknown(line)),
        };
        let before = list.len();
        list.extend(value.split_whitespace().map(str::to_owned));
        if list.len() == before { Err(format!("line {line:?} names nobody")) } else { Ok(()) }
    }
}

fn unknown(line: &str) -> String {
    format!("line {line:?} is none of `agents: ID …`, `hosts: ID …`, `revoked: TIME` and `# comment`")
}

fn revoked_from_ms(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(i64::MIN);
    }
    let time: prost_types::Timestamp = text
        .parse()
        .map_err(|_| format!("`revoked: {text}` is no time such as 2026-03-01T12:00:00Z (without one: from ever)"))?;
    Ok(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000))
}

/// A key as its file has it.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile {
    pub key: VerifyingKey,
    pub terms: Terms,
}

impl KeyFile {
    pub fn read(path: &Path) -> Result<Self, KeyRingError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|source| KeyRingError::Read { path: path.into(), source })?;
        let format = |what: String| KeyRingError::Format { path: path.into(), what };
        if text.len() as u64 > KEY_FILE_BYTES_MAX {
            // Its end may be what revokes it.
            return Err(format(format!("it is longer than {KEY_FILE_BYTES_MAX} bytes")));
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyRingError::Private { path: path.into() });
        }
        let (mut pem, mut terms, mut in_key) = (String::new(), Terms::default(), false);
        for line in text.lines().map(str::trim) {
            in_key |= line.starts_with("-----BEGIN ");
            if in_key {
                pem.push_str(line);
                pem.push('\n');
                in_key = !line.starts_with("-----END ");
            } else if !line.is_empty() && !line.starts_with('#') {
                terms.add(line).map_err(format)?;
            }
        }
        let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|e| format(e.to_string()))?;
        if key.is_weak() {
            return Err(KeyRingError::Weak { path: path.into() });
        }
        Ok(Self { key, terms })
    }
}
