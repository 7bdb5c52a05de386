//! For tests of the audit source: system calls on the bus, and the kernel's audit with a rule that ends with the test.

use super::FakeBus;
use amoskys_collectors::{Stream, sources::syscall::table::SYSCALLS};
use amoskys_proto::{
    EnvelopeView,
    v1::{SyscallBatch, SyscallEvent},
};
use prost::Message;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
    recvfrom, sendto, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use std::{fs::File, io::Write, time::Duration};

pub const SYSCALLS_TOPIC: &str = "amoskys.telemetry.syscall.v1";

/// All that came, in order.
pub fn events(bus: &FakeBus) -> Vec<SyscallEvent> {
    let log = bus.log();
    let payloads = log.iter().filter(|record| record.topic == SYSCALLS_TOPIC).map(|record| &record.payload);
    payloads.flat_map(|payload| events_in(payload)).collect()
}

/// Those of one envelope.
pub fn events_in(payload: &[u8]) -> Vec<SyscallEvent> {
    let view = EnvelopeView::parse(payload).expect("an envelope");
    assert_eq!(view.header.schema, Stream::Syscall.schema());
    let batch = SyscallBatch::decode(view.payload).expect("system calls");
    assert_eq!(batch.events.len(), view.header.event_count as usize);
    batch.events
}

const NLMSG_ERROR: u16 = 2;
const AUDIT_GET: u16 = 1_000;
const AUDIT_SET: u16 = 1_001;
const AUDIT_ADD_RULE: u16 = 1_011;
const AUDIT_DEL_RULE: u16 = 1_012;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const FLAGS: u16 = 5;

/// The kernel's audit, which nobody else sets while this lives; then it is as it was.
pub struct Audit {
    was: Settings,
    rule: Option<Vec<u8>>,
    /// Audit is the host's: who is first would switch it off under the others.
    _alone: File,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    enabled: u32,
    /// Records that wait to be told; then whoever makes more waits as well, asleep, for as many ticks of the clock.
    backlog_records_max: u32,
    backlog_wait_ticks: u32,
}

/// Nobody waits: a test that ends its programs would have to wait for them.
const TEST_SETTINGS: Settings = Settings { enabled: 1, backlog_records_max: 8_192, backlog_wait_ticks: 0 };

impl Settings {
    /// Of a `struct audit_status`; its first word says which of the others are to be set.
    fn read(status: &[u8]) -> Option<Self> {
        let word = |place: usize| Some(u32::from_ne_bytes(status.get(place * 4..place * 4 + 4)?.try_into().ok()?));
        Some(Self { enabled: word(1)?, backlog_records_max: word(5)?, backlog_wait_ticks: word(9)? })
    }

    fn set(self) {
        const WHICH: u32 = 0x01 | 0x10 | 0x20;
        let words = [WHICH, self.enabled, 0, 0, 0, self.backlog_records_max, 0, 0, 0, self.backlog_wait_ticks];
        let _ = ask(AUDIT_SET, &bytes(&words));
    }
}

impl Audit {
    /// `None` where the kernel's audit may not be set, which is told.
    pub fn take() -> Option<Self> {
        let alone = File::open(std::env::temp_dir()).expect("a folder");
        alone.lock().expect("locked");
        match ask(AUDIT_GET, &[]) {
            Ok(status) => {
                let was = Settings::read(&status).expect("a status");
                Some(Self { was, rule: None, _alone: alone })
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "SKIPPED: the kernel's audit cannot be asked here: {error}");
                None
            }
        }
    }

    pub fn was_enabled(&self) -> bool {
        self.was.enabled != 0
    }

    /// Lets few records wait, so that the kernel loses some.
    pub fn narrow(&self) {
        Settings { backlog_records_max: 16, ..TEST_SETTINGS }.set();
    }

    /// Has it tell all calls of the table that this process makes.
    pub fn look_at(&mut self, pid: u32) {
        TEST_SETTINGS.set();
        let rule = rule(pid);
        ask(AUDIT_ADD_RULE, &rule).expect("a rule");
        self.rule = Some(rule);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some(rule) = &self.rule {
            let _ = ask(AUDIT_DEL_RULE, rule);
        }
        self.was.set();
    }
}

/// A `struct audit_rule_data`: always, when a call returns, if the process is this one.
fn rule(pid: u32) -> Vec<u8> {
    const EXIT: u32 = 4;
    const ALWAYS: u32 = 2;
    const AUDIT_PID: u32 = 0;
    const EQUAL: u32 = 0x4000_0000;
    let (mut calls, first) = ([0u32; 64], |value: u32| std::iter::once(value).chain([0; 63]));
    for number in SYSCALLS.iter().filter_map(|call| call.number()) {
        calls[number as usize / 32] |= 1 << (number % 32);
    }
    let words = [EXIT, ALWAYS, 1].into_iter().chain(calls);
    let words: Vec<u32> = words.chain(first(AUDIT_PID)).chain(first(pid)).chain(first(EQUAL)).chain([0]).collect();
    bytes(&words)
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The answer that is no acknowledgement, if there is one.
fn ask(kind: u16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::AUDIT))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
    let mut message = bytes(&[16 + body.len() as u32, u32::from(FLAGS) << 16 | u32::from(kind), 1, 0]);
    message.extend(body);
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = [0; 16 << 10];
    loop {
        let (length, ..) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
        let kind = u16::from_ne_bytes(buffer[4..6].try_into().expect("two bytes"));
        let answer = &buffer[16..length];
        let error = || i32::from_ne_bytes(answer[..4].try_into().expect("four bytes"));
        match kind {
            NLMSG_ERROR if error() != 0 => return Err(std::io::Error::from_raw_os_error(-error())),
            // The state comes behind its acknowledgement.
            NLMSG_ERROR if body.is_empty() => {}
            _ => return Ok(answer.to_vec()),
        }
    }
}
