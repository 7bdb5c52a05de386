//! The audit source's thread: lines or messages → records → events → queue, and all of them into the ledger.
//!
//! Limits: a full queue makes it wait; a log file then waits as well, messages of netlink wait in `ring_bytes`, and what the kernel drops is
//! counted: each time that the socket was full as one event, each record that the kernel says it lost before auditd as one.

use super::{
    AuditError,
    assembler::{Assembler, Taken},
    call::{Meaning, meaning},
    event::Event,
    follow::{Follower, Line},
    netlink::{AuditSocket, Incoming, KernelStatus, is_on_from_start},
    record::Record,
    wanted::{Reason, Wanted},
};
use crate::{
    clock::Moment,
    config::{AuditFrom, ProcessConfig, SyscallConfig},
    ledger::{Loss, Origin},
    masks::Masks,
    metrics::{SharedNumbers, SyscallsBy},
    queue::{EventQueue, Queued},
    sources::{
        process::{Procfs, process_key},
        syscall::{SyscallWishes, mask},
    },
    stream::Stream,
};
use amoskys_proto::v1::SyscallEvent;
use std::{io, path::Path, time::Duration};

/// How long messages are waited for, and between looks at a file: an upper bound on how late a stop or a change is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// Messages taken before events are sent.
const TURN_MESSAGES_MAX: usize = 1_024;
/// Between two questions to the kernel how many records it lost.
const STATUS_EVERY_NS: u64 = 5_000_000_000;
/// Of a malformed line, in the status.
const EXAMPLE_BYTES_MAX: usize = 200;
/// By as much a process may have been started, as `/proc` and audit count, after its first call.
const CLOCKS_APART_US: i64 = 20_000;

/// The source, ready to run in a thread of its own.
pub struct AuditSource {
    reader: Reader,
    intake: Intake,
    wanted: Wanted,
    procfs: Procfs,
    ticks_per_second: u64,
    /// What the kernel said last.
    status: Option<KernelStatus>,
    status_due_ns: u64,
    is_kept_for_daemon: bool,
    /// Why audit is read and not what would be better.
    refused: Option<String>,
    masks: Masks,
    wishes: SyscallWishes,
    numbers: SharedNumbers,
    queue: EventQueue,
}

enum Reader {
    Netlink(AuditSocket),
    Log(Follower),
}

/// What came in a turn.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) assembler: Assembler,
    now_ns: u64,
    /// Events that are over.
    pub(super) whole: Vec<Event>,
    pub(super) records: u64,
    pub(super) late_records: u64,
    pub(super) malformed_lines: u64,
    malformed_example: Option<String>,
    overflows: u64,
}

impl AuditSource {
    /// Opens what is to be read. `refused`: why it is audit, in the agent's status from now on; and there, whether audit is enabled at all.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(
        config: &SyscallConfig,
        refused: Option<String>,
        masks: Masks,
        wishes: SyscallWishes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Self, AuditError> {
        let reader = Reader::open(config)?;
        let wanted = Wanted::new(config, std::process::id());
        warn_of_ignored(&wanted);
        // Of processes it asks when they started, and nothing else.
        let times_alone = ProcessConfig { cmdline_bytes_max: 0, descriptors_max: 0, ..ProcessConfig::default() };
        let source = Self {
            reader,
            intake: Intake::default(),
            wanted,
            procfs: Procfs::open(&times_alone).map_err(AuditError::Proc)?,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            status: KernelStatus::ask(),
            status_due_ns: 0,
            is_kept_for_daemon: is_on_from_start(),
            refused,
            masks,
            wishes,
            numbers,
            queue,
        };
        let by = if source.is_netlink() { SyscallsBy::AuditNetlink } else { SyscallsBy::AuditLog };
        source.numbers.lock().syscalls_by = Some(by);
        source.tell_problem();
        Ok(source)
    }

    fn is_netlink(&self) -> bool {
        matches!(self.reader, Reader::Netlink(_))
    }

    /// Why it is audit, and why nothing comes although it is open.
    fn tell_problem(&self) {
        let is_off = self.is_netlink() && self.status.is_some_and(|status| !status.is_enabled);
        if is_off {
            tracing::warn!("audit is not enabled in the kernel: no system calls are told");
        }
        let silent = is_off
            .then(|| "audit is not enabled in the kernel, so it tells nothing (auditctl -e 1, and rules)".to_owned());
        let problem: Vec<String> = self.refused.iter().cloned().chain(silent).collect();
        self.numbers.lock().syscall_problem = Some(problem.join("; ")).filter(|problem| !problem.is_empty());
    }

    /// Runs until told to stop; events that are not over then are taken as they are.
    pub fn run(mut self) {
        while !self.queue.is_stopped() {
            if let Some(config) = self.wishes.take() {
                self.wanted = Wanted::new(&config, std::process::id());
                warn_of_ignored(&self.wanted);
                tracing::info!(calls = config.calls.len(), "other system calls are looked at");
            }
            if let Err(error) = self.turn() {
                tracing::error!(%error, "system calls are not seen any more");
                self.numbers.lock().syscall_problem = Some(format!("audit cannot be read any more: {error}"));
                break;
            }
        }
        self.intake.assembler.take_rest(&mut self.intake.whole);
        self.deliver();
        self.numbers.lock().syscalls_by = None;
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = Moment::now();
        self.intake.now_ns = now.monotonic_ns;
        let is_drained = self.reader.read(&mut self.intake)?;
        // As long as there is more, it may be what an event waits for.
        if is_drained {
            self.intake.assembler.take_quiet(now.monotonic_ns, &mut self.intake.whole);
        }
        if now.monotonic_ns >= self.status_due_ns {
            self.status_due_ns = now.monotonic_ns + STATUS_EVERY_NS;
            self.ask_kernel();
        }
        self.deliver();
        if is_drained && !self.is_netlink() {
            std::thread::sleep(WAIT);
        }
        Ok(())
    }

    /// Whether audit is enabled, and how many records were lost since it was asked last.
    fn ask_kernel(&mut self) {
        // Who was not told at the start is not told later.
        let Some(before) = self.status else { return };
        let Some(now) = KernelStatus::ask() else { return };
        self.status = Some(now);
        if before.is_enabled != now.is_enabled {
            self.tell_problem();
        }
        let lost = now.lost_since(&before, self.is_kept_for_daemon);
        let mut numbers = self.numbers.lock();
        numbers.ledger.see(Origin::Audit, lost);
        numbers.ledger.drop_in_hand(Stream::Syscall, Loss::AuditLost, lost);
    }

    /// Enters into the ledger, at once, what was seen and what becomes of it; then hands on what is wanted.
    fn deliver(&mut self) {
        let boot_wall_us = Moment::now().wall_us_at_boot(0);
        let events = std::mem::take(&mut self.intake.whole);
        let mut wanted: Vec<Queued> = Vec::with_capacity(events.len());
        let (mut others, mut masked): (Vec<Reason>, u64) = (Vec::new(), 0);
        for event in &events {
            let time_us = event.id.time_ms.saturating_mul(1_000);
            let judged = match meaning(event) {
                Meaning::Call(call, told) => self.wanted.judge(&told, call, time_us).map(|()| told),
                Meaning::OfNoInterest(filter) => Err(Reason::OfNoInterest(filter)),
                Meaning::Lost(loss) => Err(Reason::Lost(loss)),
            };
            match judged {
                Ok(mut told) => {
                    told.process_key = self.key_of(&told, time_us, boot_wall_us);
                    masked += u64::from(mask(&mut told, &self.masks));
                    wanted.push(Queued::of(Stream::Syscall, time_us, &*told));
                }
                Err(reason) => others.push(reason),
            }
        }
        if masked > 0 {
            self.numbers.lock().masked_events += masked;
        }
        self.account(events.len() as u64, &others);
        wanted.into_iter().for_each(|event| self.queue.push(event));
    }

    fn account(&mut self, seen: u64, others: &[Reason]) {
        let intake = &mut self.intake;
        let mut numbers = self.numbers.lock();
        let overflows = std::mem::take(&mut intake.overflows);
        numbers.ledger.see(Origin::Audit, seen + overflows);
        numbers.ledger.drop_in_hand(Stream::Syscall, Loss::SocketFull, overflows);
        for reason in others {
            match reason {
                Reason::OfNoInterest(filter) => numbers.ledger.filter(*filter, 1),
                Reason::Lost(loss) => numbers.ledger.drop_in_hand(Stream::Syscall, *loss, 1),
            }
        }
        let audit = &mut numbers.audit;
        audit.records += std::mem::take(&mut intake.records);
        audit.late_records += std::mem::take(&mut intake.late_records);
        audit.malformed_lines += std::mem::take(&mut intake.malformed_lines);
        audit.open_events = intake.assembler.open_events() as u64;
        if let Some(example) = intake.malformed_example.take() {
            // It may be a part of a command line.
            audit.malformed_example = Some(self.masks.line(example.as_bytes()).0);
        }
    }

    /// 0 if the process is gone, or if another has its id.
    fn key_of(&mut self, event: &SyscallEvent, time_us: i64, boot_wall_us: i64) -> u64 {
        let Some(stat) = self.procfs.stat(event.pid) else { return 0 };
        let started_us = stat.start_ticks.saturating_mul(1_000_000) / self.ticks_per_second;
        let started_us = boot_wall_us.saturating_add_unsigned(started_us);
        if started_us <= time_us.saturating_add(CLOCKS_APART_US) { process_key(stat.start_ticks, event.pid) } else { 0 }
    }
}

impl Reader {
    fn open(config: &SyscallConfig) -> Result<Self, AuditError> {
        let audit = &config.audit;
        let netlink = || AuditSocket::open(config.ring_bytes as usize, WAIT).map(Self::Netlink);
        let log = |path: &Path| {
            let opened = Follower::open(path, audit.log_start).map(Self::Log);
            opened.map_err(|source| AuditError::Log { path: path.to_owned(), source })
        };
        match &audit.from {
            AuditFrom::Netlink => netlink(),
            AuditFrom::Log(path) => log(path),
            AuditFrom::NetlinkOrLog(path) => netlink().or_else(|netlink| {
                log(path).map_err(|log| AuditError::Neither { netlink: Box::new(netlink), log: Box::new(log) })
            }),
        }
    }

    /// Takes what is there, within bounds. Whether there is no more for now.
    fn read(&mut self, intake: &mut Intake) -> io::Result<bool> {
        match self {
            Self::Log(follower) => Ok(follower.read(&mut |line| intake.take_line(&line))? == 0),
            Self::Netlink(socket) => {
                for taken in 0..TURN_MESSAGES_MAX {
                    match socket.receive(taken == 0)? {
                        Incoming::Record(number, text) => intake.take_message(number, text),
                        Incoming::Overflow => intake.overflows += 1,
                        Incoming::Quiet => return Ok(true),
                    }
                }
                Ok(false)
            }
        }
    }
}

impl Intake {
    fn take_line(&mut self, line: &Line<'_>) {
        match line {
            Line::Whole(b"") => {}
            Line::Whole(line) => self.take_bytes(line),
            Line::TooLong(beginning) => self.take(None, &String::from_utf8_lossy(beginning)),
        }
    }

    pub(super) fn take_bytes(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.take(Record::parse(&text), &text);
    }

    fn take_message(&mut self, number: u16, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end_matches(['\0', '\n']);
        self.take(Record::of_message(number, text), text);
    }

    fn take(&mut self, record: Option<Record<'_>>, line: &str) {
        let taken = record.map(|record| self.assembler.take(&record, self.now_ns, &mut self.whole));
        match taken {
            Some(Ok(Taken::Kept)) => self.records += 1,
            Some(Ok(Taken::Late)) => self.late_records += 1,
            Some(Err(_)) | None => {
                self.malformed_lines += 1;
                let beginning = &line[..line.floor_char_boundary(EXAMPLE_BYTES_MAX)];
                self.malformed_example =
                    Some(beginning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
            }
        }
    }
}

/// Filters that audit cannot apply.
fn warn_of_ignored(wanted: &Wanted) {
    for key in wanted.ignored() {
        tracing::warn!("audit does not tell what `{key}` of [syscall] asks for: it leaves nothing out");
    }
}
