//! Over real sockets, with a client of a few lines.

use super::*;
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(30);

fn endpoints(counter: &Counter, ready: Arc<AtomicBool>) -> Endpoints {
    let mut registry = Registry::default();
    registry.register("events", "Events seen", counter.clone());
    Endpoints {
        registry: Arc::new(registry),
        alive: Arc::new(|| Health { ok: true, detail: json!({ "status": "alive" }) }),
        ready: Arc::new(move || Health { ok: ready.load(Ordering::Relaxed), detail: json!({ "partitions": 3 }) }),
        state: Arc::new(|| json!({ "partitions": [{ "keys": 5 }] })),
    }
}

fn start(counter: &Counter) -> Server {
    Server::start(ANY, endpoints(counter, Arc::default())).expect("a free port")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The whole answer, head and body.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn metrics_are_open_metrics_text() {
    let counter = Counter::default();
    let server = start(&counter);
    counter.inc_by(7);
    let answer = get(server.address(), "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("events_total 7\n") && answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn probes_answer_with_their_status_and_json() {
    let ready = Arc::new(AtomicBool::new(false));
    let server = Server::start(ANY, endpoints(&Counter::default(), Arc::clone(&ready))).expect("a free port");
    assert!(get(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
    let answer = get(server.address(), "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with(r#"{"partitions":3}"#), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    ready.store(true, Ordering::Relaxed);
    assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn state_is_json_that_people_can_read() {
    let server = start(&Counter::default());
    let answer = get(server.address(), "/state");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: application/json"), "{answer}");
    assert!(answer.ends_with("{\n  \"partitions\": [\n    {\n      \"keys\": 5\n    }\n  ]\n}\n"), "{answer}");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = start(&Counter::default());
    assert!(get(server.address(), "/").starts_with("HTTP/1.1 404"));
    let mut stream = connect(server.address());
    write!(stream, "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[test]
fn several_in_one_process_serve_their_own_numbers() {
    let counters: Vec<Counter> = (0..4).map(|_| Counter::default()).collect();
    let servers: Vec<Server> = counters.iter().map(start).collect();
    for (number, counter) in counters.iter().enumerate() {
        counter.inc_by(number as u64 + 1);
    }
    for (number, server) in servers.iter().enumerate() {
        let expected = format!("events_total {}\n", number + 1);
        assert!(get(server.address(), "/metrics").contains(&expected), "server {number}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let server = start(&Counter::default());
    let again = Server::start(server.address(), endpoints(&Counter::default(), Arc::default()));
    let error = again.err().expect("the port is taken");
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
}

#[test]
fn a_stopped_server_gives_its_port_back() {
    let server = start(&Counter::default());
    let address = server.address();
    drop(server);
    Server::start(address, endpoints(&Counter::default(), Arc::default())).expect("the port is free again");
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_says_nothing_more() {
    let server = start(&Counter::default());
    let mut stream = connect(server.address());
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").expect("half a request");
    // A whole request on a second connection shows that the first was accepted.
    get(server.address(), "/healthz");
    drop(server);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "no answer to half a request");
}

#[test]
fn silent_clients_give_their_places_to_others() {
    let (stop, stopped) = oneshot::channel();
    let listener = TcpListener::bind(ANY).expect("a free port");
    listener.set_nonblocking(true).expect("set");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
            let bounded = Bounded::new(listener, 2, Duration::from_millis(50));
            serve_on(bounded, endpoints(&Counter::default(), Arc::default()), stopped).await
        })
    });
    let silent: Vec<TcpStream> = (0..6).map(|_| connect(address)).collect();
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"), "served after six silent ones in two places");
    drop(silent);
    stop.send(()).expect("still serving");
    thread.join().expect("no panic").expect("no error");
}
