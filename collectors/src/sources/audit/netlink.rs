//! The kernel's audit messages by netlink: records as all may read them, and what the kernel says of itself.
//!
//! Records come by the multicast group for readers (AUDIT_NLGRP_READLOG), which takes nothing from auditd; it needs CAP_AUDIT_READ in the
//! initial user namespace. The kernel's state (whether audit is enabled, how many records it lost) is asked for as `auditctl -s` does, which needs
//! CAP_AUDIT_CONTROL; without it, it is unknown.
//! Deliberately not here: rules and settings, which are the operator's; the connection that auditd has, which is one of a kind.
//! Limits: what finds no room in the socket's buffer is lost; the kernel says that it is so, not how much.

use super::AuditError;
use crate::sources::netlink::{self, Datagram};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{SocketType, netlink::AUDIT},
};
use std::time::Duration;

/// As a mask.
const READLOG: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const AUDIT_GET: u16 = 1_000;
const NLM_F_REQUEST: u16 = 1;
const HEADER_BYTES: usize = 16;
/// A record has at most 8,970 bytes.
const DATAGRAM_BYTES_MAX: usize = 16 << 10;
/// The kernel answers at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages that may come before the answer.
const ANSWERS_MAX: usize = 8;

/// An open subscription.
#[derive(Debug)]
pub struct AuditSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A record's type and its text.
    Record(u16, &'a [u8]),
    /// Nothing came in time.
    Quiet,
    /// The socket's buffer was full.
    Overflow,
}

impl AuditSocket {
    /// Subscribes. `wait` is how long [`AuditSocket::receive`] waits.
    pub fn open(buffer_bytes: usize, wait: Duration) -> Result<Self, AuditError> {
        let refused = |action| move |errno: Errno| AuditError::Netlink { action, source: errno.into() };
        let socket = socket().map_err(refused("socket"))?;
        netlink::subscribe(&socket, READLOG, buffer_bytes, wait).map_err(|(action, errno)| refused(action)(errno))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// The next message. With `block` waits for as long as [`AuditSocket::open`] was told, else not at all. What does not come from the
    /// kernel, or is no message, counts as quiet.
    pub fn receive(&mut self, block: bool) -> std::io::Result<Incoming<'_>> {
        receive(&self.socket, &mut self.buffer, block)
    }
}

/// What the kernel says of its audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelStatus {
    pub is_enabled: bool,
    /// Whether there is an auditd.
    pub has_daemon: bool,
    /// Records, since the machine started or somebody set it back.
    pub lost_records: u32,
}

impl KernelStatus {
    /// Records that were lost since `before`. A kernel that was started with `audit=1` keeps records for an auditd and counts as lost what it
    /// cannot keep, although the readers' group has them: without an auditd it is not known what is lost there, and nothing is counted.
    pub fn lost_since(&self, before: &Self, is_kept_for_daemon: bool) -> u64 {
        let is_known = self.has_daemon || !is_kept_for_daemon;
        if is_known { self.lost_records.saturating_sub(before.lost_records).into() } else { 0 }
    }

    /// `None`: the kernel does not say, as to the unprivileged.
    pub fn ask() -> Option<Self> {
        let socket = socket().ok()?;
        netlink::set_wait(&socket, ANSWER_TIMEOUT).ok()?;
        let mut request = [0; HEADER_BYTES];
        request[..4].copy_from_slice(&(HEADER_BYTES as u32).to_ne_bytes());
        request[4..6].copy_from_slice(&AUDIT_GET.to_ne_bytes());
        request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        netlink::send_to_kernel(&socket, &request).ok()?;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        for _ in 0..ANSWERS_MAX {
            match receive(&socket, &mut buffer, true).ok()? {
                Incoming::Record(AUDIT_GET, body) => return Self::parse(body),
                Incoming::Record(NLMSG_ERROR, _) => return None,
                Incoming::Record(..) => {}
                Incoming::Quiet | Incoming::Overflow => return None,
            }
        }
        None
    }

    /// Of a `struct audit_status`: mask, enabled, failure, pid, rate_limit, backlog_limit, lost …
    fn parse(body: &[u8]) -> Option<Self> {
        let word = |place: usize| Some(u32::from_ne_bytes(body.get(place * 4..place * 4 + 4)?.try_into().ok()?));
        Some(Self { is_enabled: word(1)? != 0, has_daemon: word(3)? != 0, lost_records: word(6)? })
    }
}

/// Whether the kernel was started with audit on, by its command line.
pub fn is_on_from_start() -> bool {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    line.split_ascii_whitespace().any(|word| ["audit=1", "audit=on"].contains(&word))
}

fn socket() -> Result<OwnedFd, Errno> {
    netlink::socket(SocketType::RAW, AUDIT)
}

fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8], block: bool) -> std::io::Result<Incoming<'a>> {
    Ok(match netlink::receive(socket, buffer, block)? {
        Datagram::Kernels(length) => {
            split(&buffer[..length]).map_or(Incoming::Quiet, |(number, text)| Incoming::Record(number, text))
        }
        Datagram::Quiet => Incoming::Quiet,
        Datagram::Overflow => Incoming::Overflow,
    })
}

/// Type and body. A datagram holds one message; the length in its header is not asked, as old kernels leave the header out of it.
fn split(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let number = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let body = datagram.get(HEADER_BYTES..)?;
    Some((number, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_split_and_the_kernels_state_is_read() {
        let mut message = vec![0; HEADER_BYTES];
        message[4..6].copy_from_slice(&1_300_u16.to_ne_bytes());
        message.extend(b"audit(1.000:1): a=1");
        assert_eq!(split(&message), Some((1_300, &b"audit(1.000:1): a=1"[..])));
        assert!((0..HEADER_BYTES).all(|end| split(&message[..end]).is_none()));
        let body: Vec<u8> = [0u32, 1, 1, 812, 0, 64, 7, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let status = KernelStatus { is_enabled: true, has_daemon: true, lost_records: 7 };
        assert_eq!(KernelStatus::parse(&body), Some(status));
        assert_eq!(KernelStatus::parse(&body[..27]), None);
        let later = KernelStatus { has_daemon: false, lost_records: 9, ..status };
        let set_back = KernelStatus { lost_records: 1, ..status };
        let lost =
            [later.lost_since(&status, false), later.lost_since(&status, true), set_back.lost_since(&status, true)];
        assert_eq!(lost, [2, 0, 0]);
    }
}
