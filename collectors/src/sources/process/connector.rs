//! The socket of the kernel's process connector.
//!
//! Needs CAP_NET_ADMIN (or root) in the initial user and process-id namespaces; elsewhere the kernel answers with an
//! error or not at all, which [`Connector::open`] reports. Limits: when the agent is too slow for the kernel's buffer
//! (`netlink_buffer_bytes`, raised above the system's limit where that is allowed) messages are lost and counted.

use super::message::{CN_IDX_PROC, Message, Received, parse, subscription};
use crate::sources::netlink::{self, Datagram};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{SocketType, netlink::CONNECTOR},
};
use std::time::{Duration, Instant};

/// How long the kernel may take to answer the subscription. It does so at once, or, in a container, never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// One message; the longest kind has 96 bytes.
const DATAGRAM_BYTES_MAX: usize = 1_024;

/// Why the process connector cannot be used: the environment's doing.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("the process connector cannot be opened: {action}: {source} (needs root or CAP_NET_ADMIN on the host)")]
    Refused { action: &'static str, source: std::io::Error },
    #[error(
        "the kernel does not answer on the process connector (it serves only the host's own process-id namespace; \
         in a container run with the host's)"
    )]
    Silent,
}

/// An open subscription; it ends with the socket.
#[derive(Debug)]
pub struct Connector {
    socket: OwnedFd,
    buffer: [u8; DATAGRAM_BYTES_MAX],
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Message(Received),
    /// Nothing came in time.
    Quiet,
    /// The kernel's buffer was full; how many messages are gone shows in their numbers.
    Overflow,
}

impl Connector {
    /// Subscribes. `wait` is how long [`Connector::receive`] waits.
    pub fn open(buffer_bytes: usize, wait: Duration) -> Result<Self, ConnectorError> {
        let refused = |action| move |errno: Errno| ConnectorError::Refused { action, source: errno.into() };
        let socket = netlink::socket(SocketType::DGRAM, CONNECTOR).map_err(refused("socket"))?;
        netlink::subscribe(&socket, CN_IDX_PROC, buffer_bytes, wait)
            .map_err(|(action, errno)| refused(action)(errno))?;
        netlink::send_to_kernel(&socket, &subscription(true)).map_err(refused("subscribe"))?;
        let mut connector = Self { socket, buffer: [0; DATAGRAM_BYTES_MAX] };
        connector.wait_for_answer()?;
        Ok(connector)
    }

    fn wait_for_answer(&mut self) -> Result<(), ConnectorError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while Instant::now() < deadline {
            match self.receive(true) {
                Ok(Incoming::Message(Received { message: Message::Ack { error: 0 }, .. })) => return Ok(()),
                Ok(Incoming::Message(Received { message: Message::Ack { error }, .. })) => {
                    let source = std::io::Error::from_raw_os_error(error as i32);
                    return Err(ConnectorError::Refused { action: "subscribe", source });
                }
                // Events before the answer are for other listeners' sake; the first snapshot covers them.
                Ok(_) => {}
                Err(source) => return Err(ConnectorError::Refused { action: "receive", source }),
            }
        }
        Err(ConnectorError::Silent)
    }

    /// The next message. With `block` waits for as long as [`Connector::open`] was told, else not at all. Messages
    /// that do not come from the kernel, or are none, count as quiet.
    pub fn receive(&mut self, block: bool) -> std::io::Result<Incoming> {
        Ok(match netlink::receive(&self.socket, &mut self.buffer, block)? {
            Datagram::Kernels(length) => parse(&self.buffer[..length]).map_or(Incoming::Quiet, Incoming::Message),
            Datagram::Quiet => Incoming::Quiet,
            Datagram::Overflow => Incoming::Overflow,
        })
    }
}
