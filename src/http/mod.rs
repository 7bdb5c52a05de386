//! `/metrics`, `/healthz`, `/readyz` and `/state` over HTTP, on a thread of their own.
//!
//! A [`Server`] serves the registry and the probes it was given and nothing process-wide, so several agents and
//! processors in one process each serve their own numbers. Port 0 takes a free port; [`Server::address`] says which.
//!
//! Deliberately not here: TLS, authentication, anything that changes state. Limits: [`CONNECTIONS_MAX`] connections
//! at a time, later ones wait; one that is silent for [`IDLE_MS_MAX`] is closed; a stop waits [`STOP_MS_MAX`] for
//! answers under way, then drops them.

mod bounded;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bounded::Bounded;
use prometheus_client::registry::Registry;
use serde_json::Value;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

pub const CONNECTIONS_MAX: usize = 64;
pub const IDLE_MS_MAX: u64 = 60_000;
pub const STOP_MS_MAX: u64 = 1_000;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a probe answers: 200 when `ok`, 503 otherwise, with `detail` as the JSON body.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub ok: bool,
    pub detail: Value,
}

/// Asked once a request, on the server's thread: it must answer at once.
pub type Probe = Arc<dyn Fn() -> Health + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Endpoints {
    pub registry: Arc<Registry>,
    /// `/healthz`: whether the process works at all.
    pub alive: Probe,
    /// `/readyz`: whether it does its job now (broker reached, partitions running).
    pub ready: Probe,
    /// `/state`: what it is doing, for people; asked like a probe.
    pub state: Arc<dyn Fn() -> Value + Send + Sync>,
}

/// A server that runs until it is dropped: that closes the port, finishes answers under way (at most [`STOP_MS_MAX`])
/// and joins the thread.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A port that is taken, to be served later: who asks meanwhile waits.
pub struct Bound(TcpListener);

impl Bound {
    pub fn to(listen: SocketAddr) -> io::Result<Self> {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot serve http on {listen}: {error}"));
        Ok(Self(TcpListener::bind(listen).map_err(explain)?))
    }

    pub fn serve(self, endpoints: Endpoints) -> io::Result<Server> {
        let listener = self.0;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("http-{}", address.port())).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, endpoints, stopped)) {
                tracing::error!(%address, %error, "http server ended");
            }
        })?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Server {
    /// Listens before it returns, so a port that is taken is the caller's error.
    #[cfg(test)]
    pub fn start(listen: SocketAddr, endpoints: Endpoints) -> io::Result<Server> {
        Bound::to(listen)?.serve(endpoints)
    }

    /// Where it listens, with the port that port 0 became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either side may be gone already: the thread ends by itself only after an error, which it has logged.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, endpoints: Endpoints, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener =
        Bounded::new(tokio::net::TcpListener::from_std(listener)?, CONNECTIONS_MAX, Duration::from_millis(IDLE_MS_MAX));
    serve_on(listener, endpoints, stopped).await
}

async fn serve_on(listener: Bounded, endpoints: Endpoints, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|State(served): State<Endpoints>| async move { answer((served.alive)()) }))
        .route("/readyz", get(|State(served): State<Endpoints>| async move { answer((served.ready)()) }))
        .route("/state", get(state))
        .with_state(endpoints);
    let (asked, deadline) = oneshot::channel::<()>();
    let ask = async move {
        let _ = stopped.await;
        let _ = asked.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(ask);
    tokio::select! {
        served = serving.into_future() => served,
        () = async { let _ = deadline.await; tokio::time::sleep(Duration::from_millis(STOP_MS_MAX)).await } => Ok(()),
    }
}

async fn metrics(State(served): State<Endpoints>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &served.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be encoded: {error}")).into_response()
        }
    }
}

async fn state(State(served): State<Endpoints>) -> Response {
    // Indented: people read it.
    let text = serde_json::to_string_pretty(&(served.state)()).unwrap_or_default() + "\n";
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn answer(health: Health) -> Response {
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], health.detail.to_string()).into_response()
}

#[cfg(test)]
mod tests;
