//! Why there is no connection: the last complaint of the server or the client, and what a server's certificate has to do
//! with it.
//!
//! Once it tries again, async-nats says no more than "IO error". Where TLS is set the servers are then asked for what they
//! have against us, or we against them (see `trust`), on a thread of its own.
//! Limits: they are asked at most once in [`ASK_EVERY`], while there is no connection.

use super::link::lock;
use crate::{
    Address, BusError, BusOptions,
    trust::{self, Trust},
};
use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const CHECK_LOGIN: &str = "username and password, or the file of a token, nkey or credentials,";
const ASK_EVERY: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Complaints(Arc<Inner>);

struct Inner {
    /// As `--bus` takes it.
    address: String,
    servers: Vec<String>,
    trust: Trust,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    last: Option<(Instant, String)>,
    /// What is wrong with a certificate, since there was a connection last.
    refusal: Option<String>,
    asked: Option<Instant>,
}

impl Complaints {
    pub(super) fn new(options: &BusOptions, trust: Trust) -> Self {
        let servers = match &options.address {
            Address::Nats { servers } => servers.clone(),
            _ => Vec::new(),
        };
        let address = options.address.to_string();
        Self(Arc::new(Inner { address, servers, trust, said: Mutex::default() }))
    }

    pub(super) fn note(&self, text: String) {
        lock(&self.0.said).last = Some((Instant::now(), text));
    }

    pub(super) fn connected(&self) {
        lock(&self.0.said).refusal = None;
    }

    /// After an attempt to connect that failed; returns at once.
    pub(super) fn failed_to_connect(&self, text: String) {
        let mut said = lock(&self.0.said);
        let is_certain = is_unauthorised(&text);
        said.last = Some((Instant::now(), text));
        if is_certain {
            // So TLS has come about.
            said.refusal = None;
        } else if self.0.trust.is_set() && said.asked.is_none_or(|asked| asked.elapsed() > ASK_EVERY) {
            said.asked = Some(Instant::now());
            let this = self.clone();
            let asking = thread::Builder::new().name("certificate".to_owned()).spawn(move || this.ask());
            if let Err(error) = asking {
                tracing::debug!(target: "amoskys_bus::nats", %error, "no thread to ask for a certificate");
            }
        }
    }

    /// Whether a failure to connect is for somebody to put right, so that there is no use in trying again.
    pub(super) async fn refusal(&self, text: String) -> Option<BusError> {
        self.note(text.clone());
        if !is_unauthorised(&text) && (self.0.trust.is_set() || refuses_tls(&text)) {
            let this = self.clone();
            let _ = tokio::task::spawn_blocking(move || this.ask()).await;
        }
        Some(self.unreachable()).filter(|error| !error.retryable())
    }

    fn ask(&self) {
        let refusal = self.0.trust.ask_nats(&self.0.servers);
        lock(&self.0.said).refusal = refusal;
    }

    /// A refusal that came since then.
    pub(super) fn refused_since(&self, began: Instant) -> Option<String> {
        let last = lock(&self.0.said).last.clone();
        last.filter(|(at, text)| *at >= began && is_unauthorised(text)).map(|(_, text)| text)
    }

    pub(super) fn unreachable(&self) -> BusError {
        let said = lock(&self.0.said);
        let address = self.0.address.clone();
        if let Some(detail) = said.refusal.clone() {
            return BusError::Tls { address, detail };
        }
        let detail = said.last.as_ref().map_or_else(|| "no connection".to_owned(), |(_, text)| text.clone());
        if is_of_login(&detail) {
            return BusError::Unauthorised { detail: self.0.trust.of_login(&detail, &address, CHECK_LOGIN) };
        }
        if is_unauthorised(&detail) {
            return BusError::Unauthorised { detail };
        }
        if refuses_tls(&detail) {
            return BusError::Tls { address, detail: format!("{detail}; {}", trust::SEE_ALL) };
        }
        BusError::Unreachable { address, detail }
    }
}

/// Whether the two sides do not take each other's certificates; in rustls' words.
fn refuses_tls(text: &str) -> bool {
    let alert = text.contains("received fatal alert: ") && !text.contains("InternalError");
    alert || text.contains("invalid peer certificate")
}

fn is_unauthorised(text: &str) -> bool {
    is_of_login(text) || text.to_ascii_lowercase().contains("permissions violation")
}

fn is_of_login(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["authorization violation", "authentication", "signing nonce"].iter().any(|part| text.contains(part))
}
