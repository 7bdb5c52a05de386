//! A TCP forwarder between a client and a broker, which can cut or hold up what goes through it.
//!
//! Two threads for each connection. Not here: any protocol. Limits: for tests, with a few dozen connections.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const OPEN: u8 = 0;
/// Connections are closed and new ones refused.
const CUT: u8 = 1;
/// Connections stand and nothing goes through.
const HELD: u8 = 2;
const ENDED: u8 = 3;

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    state: AtomicU8,
    /// Where it forwards to; set before the first connection.
    target: Mutex<String>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens; forwards once it was told [`Proxy::forward_to`].
    pub fn listen() -> Self {
        let port = super::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is this test's own");
        let shared = Arc::new(Shared { state: AtomicU8::new(CUT), target: Mutex::default(), open: Mutex::default() });
        let accepting = shared.clone();
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { port, shared, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn forward_to(&self, target: &str) {
        *self.shared.target.lock().expect("no panic") = target.to_owned();
        self.heal();
    }

    pub fn cut(&self) {
        self.shared.close_all(CUT);
    }

    pub fn hold(&self) {
        self.shared.state.store(HELD, Ordering::Relaxed);
    }

    pub fn heal(&self) {
        self.shared.state.store(OPEN, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.close_all(ENDED);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn close_all(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            match self.state.load(Ordering::Relaxed) {
                ENDED => return,
                CUT => continue,
                _ => {}
            }
            let target = self.target.lock().expect("no panic").clone();
            let Ok(server) = TcpStream::connect(target) else { continue };
            self.join(client, server);
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let ways = [(&client, &server), (&server, &client)];
        for (from, to) in ways {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let shared = self.clone();
            thread::spawn(move || shared.pump(from, to));
        }
        let mut open = self.open.lock().expect("no panic");
        // Those that have ended would only pile up.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([client, server]);
    }

    /// Until one side closes.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            while self.state.load(Ordering::Relaxed) == HELD {
                thread::sleep(Duration::from_millis(20));
            }
            if to.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
