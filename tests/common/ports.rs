//! Free ports, each given to one test alone.
//!
//! A port is kept by a name in the kernel's abstract socket namespace, `amoskys-port-N`, for as long as this process
//! lives; infra/dev/free_ports.py keeps those of the brokers by the same names. Nothing listens on it meanwhile: a
//! process that another thread forks at that moment would hold a copy of the listening socket until it executes, and
//! the port would be in use just when it is needed. Limits: nothing stops a program that knows nothing of the names.

use rand::Rng;
use std::{
    fs, io,
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Mutex,
};

static KEPT: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A port that nobody listens on and that this process alone was given. Below those that the kernel gives to
/// connections, one of which would sooner or later have taken it before it is used.
pub fn free_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given_from = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768u16);
    let mut random = rand::rng();
    loop {
        let port = random.random_range(10_000..given_from.max(10_100));
        if let Some(kept) = keep(port).expect("abstract sockets") {
            KEPT.lock().expect("no panic").push(kept);
            return port;
        }
    }
}

/// `None` if it is kept or listened on.
fn keep(port: u16) -> io::Result<Option<UnixDatagram>> {
    let name = SocketAddr::from_abstract_name(format!("amoskys-port-{port}"))?;
    let kept = match UnixDatagram::bind_addr(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
        other => other?,
    };
    let refused = TcpStream::connect(("127.0.0.1", port)).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    Ok(refused.then_some(kept))
}
