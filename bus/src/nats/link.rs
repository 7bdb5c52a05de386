//! The connection that all handles of a bus share: whether it stands, what the server is, questions and answers.
//!
//! It is made again for as long as the bus lives. Who has messages under way watches [`Link::epochs`]: each new
//! connection is a new epoch, and what was not acknowledged before may be lost.
//! Limits: an answer is waited for as long as the caller says; nothing is retried here.

use super::{
    OnRefusal,
    complaints::Complaints,
    config,
    errors::{ApiError, During, Refused, not_enabled},
    version::Version,
};
use crate::{BusError, BusOptions};
use async_nats::{Client, Event, RequestErrorKind, StatusCode, connection::State};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

const FIRST_EPOCH_WITHIN: Duration = Duration::from_secs(1);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Link {
    pub client: Client,
    /// As `--bus` takes it, for messages.
    pub address: String,
    epochs: watch::Receiver<u64>,
    complaints: Complaints,
    /// What is known of the server, and in which epoch it was found out.
    checked: Mutex<Option<(u64, Version)>>,
}

impl Link {
    /// Connects. A server that is away is no error: the connection is made once it is there, and so where one refuses and that is to be
    /// tried on.
    pub(super) async fn open(options: &BusOptions, on_refusal: OnRefusal) -> Result<Self, BusError> {
        let (epoch, epochs) = watch::channel(0u64);
        let trust = config::trust(options);
        trust.check_files().map_err(|detail| BusError::Misconfigured { detail })?;
        let complaints = Complaints::new(options, trust);
        let epoch = Arc::new(epoch);
        let connect = || {
            let (epoch, complaints) = (epoch.clone(), complaints.clone());
            config::connect_options(options, move |event| note(&event, &epoch, &complaints))
        };
        let servers = config::servers(options)?;
        let address = options.address.to_string();
        let client = match connect()?.connect(servers.as_slice()).await {
            Ok(client) => {
                // Told a moment later, and not to be taken for another connection.
                let _ = timeout(FIRST_EPOCH_WITHIN, epochs.clone().wait_for(|epoch| *epoch > 0)).await;
                client
            }
            Err(error) => {
                tracing::debug!(target: "amoskys_bus::nats", %error, "not connected yet");
                let refusal = complaints.refusal(error.to_string()).await;
                if let Some(refusal) = refusal.filter(|refusal| !on_refusal.allows(refusal)) {
                    return Err(refusal);
                }
                let waiting = connect()?.retry_on_initial_connect().connect(servers.as_slice()).await;
                waiting.map_err(|error| BusError::Misconfigured { detail: format!("{address}: {error}") })?
            }
        };
        Ok(Self { client, address, epochs, complaints, checked: Mutex::new(None) })
    }

    /// Changes with every connection from now on.
    pub(super) fn epochs(&self) -> watch::Receiver<u64> {
        let mut epochs = self.epochs.clone();
        epochs.mark_unchanged();
        epochs
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the server can be asked and is known to do; what it is.
    pub(super) async fn ready(&self, within: Duration) -> Result<Version, BusError> {
        let deadline = Instant::now() + within;
        let mut epochs = self.epochs();
        while !self.is_connected() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero()
                || timeout(left.min(Duration::from_millis(50)), epochs.changed()).await.is_ok_and(|e| e.is_err())
            {
                return Err(self.unreachable());
            }
        }
        let epoch = *self.epochs.borrow();
        let known = *lock(&self.checked);
        if let Some((_, version)) = known.filter(|(checked, _)| *checked == epoch) {
            return Ok(version);
        }
        let info = self.client.server_info();
        let version = Version::check(&info.version, &self.address)?;
        if known.is_none() {
            self.check_jetstream(deadline.saturating_duration_since(Instant::now())).await?;
            let (server, guarantee) = (&info.version, version.guarantee());
            tracing::info!(target: "amoskys_bus::nats", server, guarantee, "connected");
        }
        *lock(&self.checked) = Some((epoch, version));
        Ok(version)
    }

    /// What the server was found to be last, if it was.
    pub(super) fn version(&self) -> Option<Version> {
        lock(&self.checked).map(|(_, version)| version)
    }

    async fn check_jetstream(&self, within: Duration) -> Result<(), BusError> {
        match self.ask::<serde_json::Value>("INFO", &(), within).await {
            Ok(_) => Ok(()),
            // Nobody listens to JetStream's questions at all.
            Err(Refused::NoAnswer(detail)) if detail == NOBODY => Err(not_enabled(&self.address)),
            Err(refused) => Err(self.during("asking for JetStream", "").refused(refused)),
        }
    }

    /// Asks JetStream's interface; `what` is the subject after `$JS.API.`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, Refused> {
        let body = serde_json::to_vec(body).map_err(|error| Refused::NoAnswer(error.to_string()))?;
        let body = if body == b"null" { Bytes::new() } else { body.into() };
        let (began, mut epochs) = (Instant::now(), self.epochs());
        let asked = async {
            tokio::select! {
                answer = self.client.request(format!("$JS.API.{what}"), body) => answer.map_err(|error| (error.kind(), error.to_string())),
                // Its answer went to the old connection.
                _ = epochs.changed() => Err((RequestErrorKind::Other, "the connection was lost".to_owned())),
            }
        };
        match timeout(within, asked).await {
            Ok(Ok(answer)) => parse(&answer.payload),
            Ok(Err((RequestErrorKind::NoResponders, _))) => Err(Refused::NoAnswer(NOBODY.to_owned())),
            Ok(Err((_, detail))) => Err(Refused::NoAnswer(detail)),
            Err(_) => Err(self.silence(began)),
        }
    }

    /// Why there was no answer to what was asked at `began`: refusals of rights come beside the answers.
    pub(super) fn silence(&self, began: Instant) -> Refused {
        match self.complaints.refused_since(began) {
            Some(text) => Refused::Unauthorised(text),
            None => Refused::NoAnswer("no answer in time".to_owned()),
        }
    }

    pub(super) fn unreachable(&self) -> BusError {
        self.complaints.unreachable()
    }

    /// As `unreachable`, of what was asked or sent.
    pub(super) fn away(&self) -> Refused {
        match self.complaints.unreachable() {
            BusError::Tls { detail, .. } => Refused::Tls(detail),
            BusError::Unauthorised { detail } => Refused::Unauthorised(detail),
            BusError::Unreachable { detail, .. } => Refused::NoAnswer(detail),
            other => Refused::NoAnswer(other.to_string()),
        }
    }

    pub(super) fn during<'a>(&'a self, action: &'static str, topic: &'a str) -> During<'a> {
        During { action, address: &self.address, topic }
    }
}

/// Nobody is subscribed to what was asked.
pub(super) const NOBODY: &str = "nobody answers; JetStream is starting or disabled";

#[derive(serde::Deserialize)]
struct Failure {
    error: Option<ApiError>,
}

/// An answer, or the error in it.
pub(super) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refused> {
    let unread = |error: serde_json::Error| Refused::NoAnswer(format!("an answer that is not understood: {error}"));
    if let Some(error) = serde_json::from_slice::<Failure>(payload).map_err(unread)?.error {
        return Err(Refused::Api(error));
    }
    serde_json::from_slice(payload).map_err(unread)
}

/// Whether a message says that there was nobody to take it.
pub(super) fn is_no_responders(status: Option<StatusCode>) -> bool {
    status == Some(StatusCode::NO_RESPONDERS)
}

fn note(event: &Event, epoch: &watch::Sender<u64>, complaints: &Complaints) {
    match event {
        Event::Connected => {
            complaints.connected();
            epoch.send_modify(|epoch| *epoch += 1);
        }
        Event::ServerError(error) => {
            // Also how a refused right is told, which is for the caller.
            tracing::debug!(target: "amoskys_bus::nats", %error, "the server complains");
            complaints.note(error.to_string());
        }
        Event::ClientError(error) => {
            tracing::debug!(target: "amoskys_bus::nats", %error, "the connection fails");
            complaints.failed_to_connect(error.to_string());
        }
        Event::Disconnected => complaints.note("the connection was lost".to_owned()),
        Event::SlowConsumer(_) => {
            tracing::warn!(target: "amoskys_bus::nats", "messages were dropped and are read again")
        }
        other => tracing::debug!(target: "amoskys_bus::nats", event = %other, "the connection changes"),
    }
}
