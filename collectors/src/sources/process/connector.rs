//! The socket of the kernel's process connector.
//!
//! Needs CAP_NET_ADMIN (or root) in the initial user and process-id namespaces; elsewhere the kernel answers with an
//! error or not at all, which [`Connector::open`] reports. Limits: when the agent is too slow for the kernel's buffer
//! (`netlink_buffer_bytes`, raised above the system's limit where that is allowed) messages are lost and counted.

use super::message::{CN_IDX_PROC, Message, Received, parse, subscription};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::{self, SocketAddrNetlink},
        recvfrom, sendto, socket_with,
        sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout},
    },
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
        let protocol = Some(netlink::CONNECTOR);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)
            .map_err(refused("socket"))?;
        // Beyond the system's limit only the privileged may go; the others get what the limit gives.
        if set_socket_recv_buffer_size_force(&socket, buffer_bytes).is_err() {
            set_socket_recv_buffer_size(&socket, buffer_bytes).map_err(refused("set buffer size"))?;
        }
        bind(&socket, &SocketAddrNetlink::new(0, CN_IDX_PROC)).map_err(refused("bind"))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(wait)).map_err(refused("set timeout"))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&socket, &subscription(true), SendFlags::empty(), &kernel).map_err(refused("subscribe"))?;
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
        let flags = if block { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match recvfrom(&self.socket, &mut self.buffer[..], flags) {
            Ok((length, _, sender)) => {
                let from_kernel =
                    sender.is_some_and(|a| SocketAddrNetlink::try_from(a).is_ok_and(|address| address.pid() == 0));
                let received = if from_kernel { parse(&self.buffer[..length]) } else { None };
                Ok(received.map_or(Incoming::Quiet, Incoming::Message))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Incoming::Quiet),
            Err(Errno::NOBUFS) => Ok(Incoming::Overflow),
            Err(errno) => Err(errno.into()),
        }
    }
}
