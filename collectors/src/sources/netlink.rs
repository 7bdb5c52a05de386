//! Sockets of netlink: subscribing to a group, and reading what the kernel and nobody else sends.
//!
//! Deliberately not here: what the messages are (see `process::connector` and `audit::netlink`). Limits: what finds no room in the socket's
//! buffer is lost; the kernel says that it is so.

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::SocketAddrNetlink,
        recvfrom, sendto, socket_with,
        sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout},
    },
};
use std::{io, time::Duration};

/// What a read gave.
pub enum Datagram {
    /// So many bytes of the kernel's.
    Kernels(usize),
    /// Nothing came in time, or it was not the kernel's.
    Quiet,
    /// The socket's buffer was full.
    Overflow,
}

pub fn socket(kind: SocketType, protocol: Protocol) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, Some(protocol))
}

/// How long [`receive`] waits when it blocks.
pub fn set_wait(socket: &OwnedFd, wait: Duration) -> Result<(), Errno> {
    set_socket_timeout(socket, Timeout::Recv, Some(wait))
}

/// Hears `groups`, a mask, with room for `buffer_bytes`.
///
/// # Errors
/// With what was refused.
pub fn subscribe(
    socket: &OwnedFd,
    groups: u32,
    buffer_bytes: usize,
    wait: Duration,
) -> Result<(), (&'static str, Errno)> {
    let refused = |action| move |errno| (action, errno);
    // Beyond the system's limit only the privileged may go; the others get what the limit gives.
    if set_socket_recv_buffer_size_force(socket, buffer_bytes).is_err() {
        set_socket_recv_buffer_size(socket, buffer_bytes).map_err(refused("set buffer size"))?;
    }
    bind(socket, &SocketAddrNetlink::new(0, groups)).map_err(refused("bind"))?;
    set_wait(socket, wait).map_err(refused("set timeout"))
}

pub fn send_to_kernel(socket: &OwnedFd, message: &[u8]) -> Result<usize, Errno> {
    sendto(socket, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
}

/// The next datagram, into `buffer`. With `block` waits for as long as [`set_wait`] was told, else not at all.
///
/// # Errors
/// The socket's, which do not go away.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8], block: bool) -> io::Result<Datagram> {
    let flags = if block { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    match recvfrom(socket, buffer, flags) {
        Ok((length, _, sender)) => {
            let is_kernels = sender.is_some_and(|a| SocketAddrNetlink::try_from(a).is_ok_and(|from| from.pid() == 0));
            Ok(if is_kernels { Datagram::Kernels(length) } else { Datagram::Quiet })
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(Datagram::Quiet),
        Err(Errno::NOBUFS) => Ok(Datagram::Overflow),
        Err(errno) => Err(errno.into()),
    }
}
