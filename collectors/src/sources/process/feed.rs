//! Where the kernel tells of processes: eBPF, or the process connector; what each tells becomes the same [`Report`].
//!
//! What the connector's messages lack is read from `/proc` here: first of those that have just started a program, as they may be gone in a
//! moment. Deliberately not here: what a report means (see `tracker`). Limits: what finds no room in the ring or in the connector's buffer is
//! lost, counted, and said by [`Turn::lost`].

use super::{
    connector::{Connector, ConnectorError, Incoming},
    message::{LossCounter, Message, Received},
    procfs::{Procfs, Reading},
    told::cmdline_bytes_wanted,
};
use crate::{
    clock::Moment,
    config::{ProcessConfig, ProcessMode},
    ledger::{Filter, Loss, Origin},
    metrics::{Numbers, ProcessesBy, SharedNumbers},
    sources::ring::{Agreement, Sum, rest_after},
    stream::Stream,
};
use amoskys_ebpf::{KernelTypes, ProbeError, ProcessChange, ProcessCounters, Processes, RawProcess};
use std::{collections::VecDeque, time::Duration};

/// How long the first message of the connector is waited for: an upper bound on how late a stop or a due pass is noticed.
pub const WAIT: Duration = Duration::from_millis(50);
/// The same by eBPF. To wake a processor costs a host that has nothing to do more than all else that the agent does then.
pub const WAIT_LONG: Duration = Duration::from_millis(250);
/// Messages of the connector handled before the pass over `/proc` gets its turn.
const MESSAGES_MAX: usize = 64;
/// The same of reports by eBPF, which take less.
const CHANGES_MAX: usize = 512;
/// Of what is taken out of the ring at once, the memory that is kept.
const TOLD_BYTES_KEPT: usize = 256 << 10;

/// What happened, when, and what was known of the process then.
pub struct Report {
    pub at: Moment,
    pub what: What,
    pub reading: Reading,
}

pub enum What {
    Fork { parent: u32, child: u32 },
    Exec { pid: u32 },
    Exit { pid: u32, parent: u32, code: i32 },
    Ids { pid: u32, group: bool, real: u32, effective: u32 },
    Comm { pid: u32, comm: String },
    Filtered(Filter),
}

/// How taking reports went.
#[derive(Default)]
pub struct Turn {
    /// Whether the kernel could not tell all.
    pub lost: bool,
    /// How long to rest before the next, so that more gathers.
    pub rest: Duration,
    /// Why there will be no more of them.
    pub broken: Option<String>,
}

/// Why what is demanded cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    #[error("processes cannot be seen by eBPF: {0}")]
    Ebpf(#[from] ProbeError),
    #[error("/proc cannot be opened: {0}")]
    Proc(std::io::Error),
}

pub enum Feed {
    Ebpf(Box<ByEbpf>),
    Connector(Box<ByConnector>),
}

impl Feed {
    /// `None`: snapshots are compared.
    ///
    /// # Errors
    /// One is demanded and cannot be had.
    pub fn open(
        config: &ProcessConfig,
        types: &KernelTypes,
        numbers: &SharedNumbers,
    ) -> Result<Option<Self>, ProcessesError> {
        let ebpf = || ByEbpf::open(config, types, numbers).map(|feed| Some(Self::Ebpf(Box::new(feed))));
        let connector = || ByConnector::open(config, numbers).map(|feed| Some(Self::Connector(Box::new(feed))));
        Ok(match config.source {
            ProcessMode::Ebpf => ebpf()?,
            ProcessMode::Connector => connector()?,
            ProcessMode::Snapshots => None,
            ProcessMode::Auto => ebpf().or_else(|refused| {
                tracing::warn!(%refused, "processes are seen by the process connector, and what it does not tell is read: some are gone by then");
                connector()
            }).unwrap_or_else(|error| {
                tracing::warn!(%error, "processes are seen by snapshots only: short-lived ones are missed");
                None
            }),
        })
    }

    pub fn by(&self) -> ProcessesBy {
        match self {
            Self::Ebpf(_) => ProcessesBy::Ebpf,
            Self::Connector(_) => ProcessesBy::Connector,
        }
    }

    /// Takes what has come, for [`Feed::next`], waiting for the first of it so long, by the connector [`WAIT`] at most.
    pub fn take(&mut self, wait: Duration, procfs: &mut Procfs) -> Turn {
        match self {
            Self::Ebpf(feed) => feed.take(wait),
            Self::Connector(feed) => feed.take(!wait.is_zero(), procfs),
        }
    }

    /// One after the other of what was taken.
    pub fn next(&mut self, procfs: &mut Procfs) -> Option<Report> {
        match self {
            Self::Ebpf(feed) => feed.next(procfs),
            Self::Connector(feed) => feed.reports.pop_front(),
        }
    }

    /// Ends it. Whether what had been told until then can still be taken.
    pub fn end(&mut self) -> bool {
        let Self::Ebpf(feed) = self else { return false };
        if let Err(error) = feed.processes.detach() {
            tracing::error!(%error, "the kernel's programs cannot be taken out; they end with the agent");
        }
        true
    }
}

/// By programs in the kernel.
pub struct ByEbpf {
    processes: Processes,
    /// As they were told last.
    counters: ProcessCounters,
    agreement: Agreement,
    /// Taken out of the ring.
    taken: u64,
    told: Told,
    numbers: SharedNumbers,
}

/// What was taken out of the ring and is not a report yet. One after the other is made into one and sent: what is allocated for it is then free
/// for the next, which is cheaper by far than for all of them at once.
#[derive(Default)]
struct Told {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: VecDeque<usize>,
    next: usize,
    at: Moment,
}

impl Told {
    fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push_back(self.bytes.len());
    }

    fn pop(&mut self) -> Option<RawProcess<'_>> {
        let end = self.ends.pop_front()?;
        let from = std::mem::replace(&mut self.next, end);
        RawProcess::parse(&self.bytes[from..end])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(TOLD_BYTES_KEPT);
        (self.next, self.at) = (0, Moment::now());
    }
}

impl ByEbpf {
    fn open(config: &ProcessConfig, types: &KernelTypes, numbers: &SharedNumbers) -> Result<Self, ProcessesError> {
        let descriptors = u32::try_from(config.descriptors_max).unwrap_or(u32::MAX);
        let processes =
            Processes::load(types, config.ring_bytes, cmdline_bytes_wanted(config.cmdline_bytes_max), descriptors)?;
        let (counters, agreement, told) = Default::default();
        Ok(Self { processes, counters, agreement, taken: 0, told, numbers: numbers.clone() })
    }

    fn take(&mut self, wait: Duration) -> Turn {
        let (told, mut foreign) = (&mut self.told, 0);
        told.clear();
        let taken = self.processes.poll(wait, CHANGES_MAX, &mut |item| match RawProcess::parse(item) {
            Some(_) => told.push(item),
            None => foreign += 1,
        });
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Turn { lost: true, broken: Some(error.to_string()), ..Turn::default() },
        };
        self.taken += taken as u64;
        let read = || self.processes.counters();
        let sum = |counters: &ProcessCounters| Sum { gap: counters.gap(), submitted: counters.submitted };
        let counters = self.agreement.read(self.taken, read, sum);
        let broken = counters.as_ref().err().map(ToString::to_string);
        let counters = counters.unwrap_or(self.counters);
        let lost = self.account(&counters, taken as u64, foreign) || broken.is_some();
        self.counters = counters;
        let rests = taken > 0 && taken < CHANGES_MAX && !wait.is_zero();
        Turn { lost, rest: if rests { rest_after(taken) } else { Duration::ZERO }, broken }
    }

    fn next(&mut self, procfs: &mut Procfs) -> Option<Report> {
        let at = self.told.at;
        let told = self.told.pop()?;
        let what = match told.change {
            ProcessChange::Fork => What::Fork { parent: told.parent_pid, child: told.pid },
            ProcessChange::Exec => What::Exec { pid: told.pid },
            ProcessChange::Exit => What::Exit { pid: told.pid, parent: told.parent_pid, code: told.exit_code },
        };
        Some(Report { at: at.at_boot(told.at_ns), what, reading: procfs.read_told(&told) })
    }

    /// What was decided in the kernel is seen and filtered or dropped at once; what it told is seen when it is taken. So what is seen and what
    /// is in the ring are together what the kernel saw.
    fn account(&self, now: &ProcessCounters, taken: u64, foreign: u64) -> bool {
        let (before, mut numbers) = (&self.counters, self.numbers.lock());
        let Numbers { ledger, kernel_changes, ring_changes, .. } = &mut *numbers;
        let threads = now.threads - before.threads;
        ledger.see(Origin::Tracepoint, threads);
        ledger.filter(Filter::Thread, threads);
        let losses =
            [(Loss::RingFull, now.dropped_ring - before.dropped_ring), (Loss::Missed, now.missed - before.missed)];
        for (loss, events) in losses {
            ledger.see(Origin::Tracepoint, events);
            ledger.drop_in_hand(Stream::Process, loss, events);
        }
        ledger.see(Origin::Tracepoint, taken);
        // What cannot be read does not come; counted, if it did.
        ledger.filter(Filter::OtherKind, foreign);
        (*kernel_changes, *ring_changes) = (*now, now.submitted.saturating_sub(self.taken));
        losses.iter().any(|(_, events)| *events > 0)
    }
}

/// By messages of the process connector.
pub struct ByConnector {
    connector: Connector,
    losses: LossCounter,
    /// Of one turn; kept for its memory.
    messages: Vec<Received>,
    reports: VecDeque<Report>,
    numbers: SharedNumbers,
}

impl ByConnector {
    fn open(config: &ProcessConfig, numbers: &SharedNumbers) -> Result<Self, ProcessesError> {
        let connector = Connector::open(config.connector_buffer_bytes, WAIT)?;
        let messages = Vec::with_capacity(MESSAGES_MAX);
        let (losses, reports) = Default::default();
        Ok(Self { connector, losses, messages, reports, numbers: numbers.clone() })
    }

    fn take(&mut self, waits: bool, procfs: &mut Procfs) -> Turn {
        let turn = self.gather(waits);
        let now = Moment::now();
        // New programs are read before anything else is done: they may be gone in a moment.
        let mut started = self
            .messages
            .iter()
            .map(|received| match received.message {
                Message::Exec { pid } => Some(procfs.read_started(pid)),
                _ => None,
            })
            .collect::<Vec<_>>()
            .into_iter();
        for received in self.messages.drain(..) {
            let lost = self.losses.lost_before(received.cpu, received.sequence);
            let started = started.next().flatten();
            let mut numbers = self.numbers.lock();
            numbers.kernel_lost_messages += lost;
            // Another listener's subscription is answered to all, and numbered like an event.
            if let Message::Ack { .. } = received.message {
                continue;
            }
            numbers.ledger.see(Origin::Connector, 1);
            drop(numbers);
            let mut stat_of = |pid| Reading { stat: procfs.stat(pid), ..Reading::default() };
            let (what, reading) = match received.message {
                Message::Fork { thread: true, .. } | Message::Exit { thread: true, .. } => {
                    (What::Filtered(Filter::Thread), Reading::default())
                }
                Message::Fork { parent, child, .. } => (What::Fork { parent, child }, stat_of(child)),
                Message::Exec { pid } => (What::Exec { pid }, started.unwrap_or_default()),
                Message::Exit { pid, parent, code, .. } => (What::Exit { pid, parent, code }, stat_of(pid)),
                Message::Ids { pid, group, real, effective } => {
                    (What::Ids { pid, group, real, effective }, Reading::default())
                }
                Message::Comm { pid, comm } => (What::Comm { pid, comm }, Reading::default()),
                Message::Ack { .. } | Message::Other => (What::Filtered(Filter::OtherKind), Reading::default()),
            };
            self.reports.push_back(Report { at: now.at_monotonic(received.monotonic_ns), what, reading });
        }
        turn
    }

    /// Takes messages without looking at them, so that the kernel's buffer empties.
    fn gather(&mut self, waits: bool) -> Turn {
        let mut turn = Turn::default();
        while self.messages.len() < MESSAGES_MAX {
            match self.connector.receive(waits && self.messages.is_empty()) {
                Ok(Incoming::Message(received)) => self.messages.push(received),
                Ok(Incoming::Quiet) => break,
                // How much shows in the next message's number.
                Ok(Incoming::Overflow) => turn.lost = true,
                Err(error) => {
                    turn.broken = Some(error.to_string());
                    break;
                }
            }
        }
        turn
    }
}
