//! What an agent needs to run, as values that are already valid.
//!
//! Parsing, environment variables and range checks happen elsewhere (the binary's `config`); this file only says what
//! each value means, its unit, its range and its default. Nothing here is checked again.

use crate::{masks::Masks, sources::syscall::Choice, stream::Stream};
use amoskys_ebpf::{Limit, List};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

/// One agent. Build it with [`AgentConfig::new`] and change what differs.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// Name of the agent, stable over restarts. Sequence numbers count per agent and boot.
    pub agent_id: String,
    /// Host that the events are about; key of every record.
    pub host_id: String,
    /// Topic of process telemetry. Default `amoskys.telemetry.process.v1`.
    pub process_topic: String,
    /// Topic of system calls. Default `amoskys.telemetry.syscall.v1`.
    pub syscall_topic: String,
    /// Topic of all system calls as numbers. Default `amoskys.telemetry.syscall_activity.v1`.
    pub activity_topic: String,
    /// Topic of the agent's own status. Default `amoskys.agent.status.v1`.
    pub status_topic: String,
    /// How often a status message is sent. Default 30 s.
    pub status_interval: Duration,
    /// Events between the source and the batcher. When full, the source waits. Default 4,096.
    pub queue_events_max: usize,
    /// ed25519 private key (PKCS#8 PEM, mode 0600). `None`: envelopes are not signed. Default `None`.
    pub signing_key_path: Option<PathBuf>,
    pub process: ProcessConfig,
    pub syscall: SyscallConfig,
    pub batch: BatchConfig,
    pub wal: WalConfig,
    pub publish: PublishConfig,
}

/// The process source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Time between two passes over `/proc`. Default 10 s.
    pub snapshot_interval: Duration,
    /// Where starts, programs and ends come from. Default `Auto`.
    pub source: ProcessMode,
    /// Longer command lines are cut here. Default 4,096 bytes.
    pub cmdline_bytes_max: usize,
    /// Live processes remembered (for parents, lifetimes, exits), about 1 KiB each. Further ones are still reported,
    /// without what the memory would have added. Default 16,384.
    pub processes_max: usize,
    /// File descriptors looked at per process to count its sockets; `sockets` is a lower bound beyond. Default 256.
    pub descriptors_max: usize,
    /// How long after an exec the executable is looked at again, so that a file deleted right after its start is seen
    /// before the next snapshot. Zero: never. Default 1 s.
    pub exe_recheck_after: Duration,
    /// Whether kernel threads are reported in snapshots. Default `false`.
    pub kernel_threads: bool,
    /// Nice value of the thread that reads processes, -20 to 19; below 0 needs root or CAP_SYS_NICE and is skipped
    /// without. It seldom runs, but when it is late, short-lived processes are gone. Default -10.
    pub thread_nice: i32,
    /// Kernel buffer for process connector messages (about 1 KiB each). Default 8 MiB.
    pub connector_buffer_bytes: usize,
    /// Between the kernel's programs and the agent, rounded up to a power of two. Default 2 MiB.
    pub ring_bytes: u32,
    /// Ancestors named in each event, 0 to 64. Default 8.
    pub ancestors_max: usize,
    /// Environment variables that are collected, by name. Default none.
    pub environment: Vec<String>,
    /// What is masked in command lines, collected variables, and the arguments of system calls. Default the usual.
    pub masks: Masks,
    pub files: FilesConfig,
}

/// What is told of executables beyond their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Larger executables have no digest; 0: none has. Default 64 MiB.
    pub sha256_file_bytes_max: u64,
    /// How long an event waits for what is told of its executable; then it goes without. Default 1 s.
    pub wait: Duration,
    /// Executables remembered, about 300 bytes each. Default 4,096.
    pub files_max: NonZeroUsize,
    /// Where dpkg keeps what is installed; `None`, or no such folder: no packages. Default `/var/lib/dpkg`.
    pub dpkg_folder: Option<PathBuf>,
}

/// Where the starts, programs and ends of processes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessMode {
    /// By eBPF where it can be had, else by the kernel's process connector, else by comparing snapshots, with a warning.
    Auto,
    /// By eBPF; starting fails where it cannot be had.
    Ebpf,
    /// By the process connector (netlink); starting fails where it cannot be opened.
    Connector,
    /// By comparing snapshots: what starts and ends between two of them is not seen.
    Snapshots,
}

/// The syscall source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallConfig {
    /// Default `Auto`.
    pub source: SyscallMode,
    /// Which calls. Default: those that are rare on a quiet host.
    pub calls: Vec<Choice>,
    /// Whose. Default: everybody's but the agent's own.
    pub of: SyscallsOf,
    /// Events of one process, so that one that is busy does not take the room of the others. Default 2,000 each second, 10,000 at once.
    pub limit: Option<Limit>,
    /// Between kernel and agent, rounded up to a power of two; of audit by netlink, the socket's buffer. Default 4 MiB.
    pub ring_bytes: u32,
    pub audit: AuditConfig,
    /// All calls as numbers, whatever the others say. Default `None`: they are not counted.
    pub activity: Option<ActivityConfig>,
}

/// All system calls of all processes but the agent, as numbers of each process and call; by eBPF alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityConfig {
    /// How long calls are added up; also how late they are told. Default 1 s.
    pub interval: Duration,
    /// Processes and calls in one interval, about 700 bytes of the kernel each; calls of more are counted as `no_room`. Default 16,384.
    pub rows_max: u32,
}

/// Where the audit source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// Default: the kernel, else `/var/log/audit/audit.log`.
    pub from: AuditFrom,
    /// Default `End`.
    pub log_start: LogStart,
}

/// What it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFrom {
    /// The kernel's messages where they may be read, else this file.
    NetlinkOrLog(PathBuf),
    Netlink,
    Log(PathBuf),
}

/// Where in a log file reading begins when the agent starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// What was written while no agent ran is not seen.
    End,
    /// What the file holds is sent again at each start.
    Beginning,
}

/// Whether system calls are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyscallMode {
    /// By eBPF; starting fails where it cannot be had.
    Ebpf,
    /// By the kernel's audit; starting fails where it cannot be read.
    Audit,
    /// By eBPF where it can be had, else by audit, else not; with a warning.
    Auto,
    Off,
}

/// Whose system calls are looked at; a call that any of these leaves out is filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyscallsOf {
    pub pids: List<u32>,
    /// Processes, and all that come from them after the agent has started.
    pub trees: List<u32>,
    pub uids: List<u32>,
    /// Names of threads, at most 15 bytes.
    pub comms: List<String>,
    /// Folders of control groups; one that is not there is left out.
    pub cgroups: List<PathBuf>,
    /// Beginnings of the first path of a call, at most 64 bytes.
    pub path_prefixes: List<String>,
}

/// When a batch of events becomes an envelope: at whichever of the three comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// Bytes of a whole envelope, header and signature included; 1 byte to 10 MiB. An event that does not fit alone is
    /// dropped and counted as `oversize`. Default 1 MiB.
    pub max_env_bytes: usize,
    /// Default 500.
    pub events_max: usize,
    /// How long the first event of a batch waits. Default 250 ms.
    pub age_max: Duration,
}

/// The write-ahead log between the batcher and the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalConfig {
    /// Folder, created when missing. One agent at a time.
    pub path: PathBuf,
    /// Envelope bytes kept. On disk there may be up to twice that and 128 MiB. Default 256 MiB.
    pub bytes_max: u64,
    /// Default [`WalFull::DropOldest`].
    pub when_full: WalFull,
    /// Default one second.
    pub fsync: Fsync,
}

/// What gives way when the write-ahead log is at `bytes_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalFull {
    /// The oldest envelope that is not being sent, counted as `wal_full`.
    DropOldest,
    /// Nothing here: the source waits, and the kernel drops messages, counted as `ring_full` or as `kernel_lost`.
    Block,
}

/// When appended envelopes reach the disk. A killed agent loses nothing with any of them; a host that loses power
/// loses what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before the next event is taken.
    Always,
    /// At most this long after.
    Interval(Duration),
    /// When the operating system sees fit.
    Never,
}

/// From the write-ahead log to the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishConfig {
    /// `None`: as fast as the bus takes it. Default `None`.
    pub send_rate: Option<SendRate>,
    /// How often an envelope is tried again that the log refuses without saying that waiting helps; then it is dropped
    /// and counted as `refused`. 0 to 20, default 10. An unreachable or misconfigured log never costs an envelope: it
    /// stays in the write-ahead log and is tried again every `retry_pause_max`.
    pub retry_max: u32,
    /// How long an envelope may wait for its acknowledgement before it counts as failed. Default 30 s.
    pub retry_timeout: Duration,
    /// First pause after a failure; it doubles from try to try. Default 100 ms.
    pub retry_pause_min: Duration,
    /// Longest pause. Default 10 s.
    pub retry_pause_max: Duration,
    /// Envelopes sent and not acknowledged. Default 64.
    pub in_flight_records_max: usize,
    /// Their bytes; one envelope is always let through. Default 4 MiB.
    pub in_flight_bytes_max: usize,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendRate {
    pub unit: RateUnit,
    /// Tokens added per second, at least 1.
    pub per_second: u64,
    /// Tokens kept at most, at least 1. An envelope of more than this goes when the bucket is full.
    pub burst: u64,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    Events,
    Bytes,
}

impl AgentConfig {
    pub fn topic(&self, stream: Stream) -> &str {
        match stream {
            Stream::Process => &self.process_topic,
            Stream::Status => &self.status_topic,
            Stream::Syscall => &self.syscall_topic,
            Stream::Activity => &self.activity_topic,
        }
    }

    /// Defaults for an agent of that name on that host, with its write-ahead log in the given folder.
    pub fn new(agent_id: impl Into<String>, host_id: impl Into<String>, wal_path: impl Into<PathBuf>) -> Self {
        Self {
            agent_id: agent_id.into(),
            host_id: host_id.into(),
            process_topic: "amoskys.telemetry.process.v1".into(),
            syscall_topic: "amoskys.telemetry.syscall.v1".into(),
            activity_topic: "amoskys.telemetry.syscall_activity.v1".into(),
            status_topic: "amoskys.agent.status.v1".into(),
            status_interval: Duration::from_secs(30),
            queue_events_max: 4_096,
            signing_key_path: None,
            process: ProcessConfig::default(),
            syscall: SyscallConfig::default(),
            batch: BatchConfig::default(),
            wal: WalConfig {
                path: wal_path.into(),
                bytes_max: 256 << 20,
                when_full: WalFull::DropOldest,
                fsync: Fsync::Interval(Duration::from_secs(1)),
            },
            publish: PublishConfig::default(),
        }
    }
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            snapshot_interval: Duration::from_secs(10),
            source: ProcessMode::Auto,
            cmdline_bytes_max: 4_096,
            processes_max: 16_384,
            descriptors_max: 256,
            exe_recheck_after: Duration::from_secs(1),
            kernel_threads: false,
            thread_nice: -10,
            connector_buffer_bytes: 8 << 20,
            ring_bytes: 2 << 20,
            ancestors_max: 8,
            environment: Vec::new(),
            masks: Masks::usual(),
            files: FilesConfig::default(),
        }
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            sha256_file_bytes_max: 64 << 20,
            wait: Duration::from_secs(1),
            files_max: NonZeroUsize::new(4_096).unwrap_or(NonZeroUsize::MIN),
            dpkg_folder: Some("/var/lib/dpkg".into()),
        }
    }
}

impl Default for SyscallConfig {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            source: SyscallMode::Auto,
            calls: Choice::usual(),
            of: SyscallsOf::default(),
            limit: Some(Limit { per_second: number(2_000), burst: number(10_000) }),
            ring_bytes: 4 << 20,
            audit: AuditConfig::default(),
            activity: None,
        }
    }
}

impl Default for ActivityConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), rows_max: 16_384 }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { from: AuditFrom::NetlinkOrLog("/var/log/audit/audit.log".into()), log_start: LogStart::End }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_env_bytes: 1 << 20, events_max: 500, age_max: Duration::from_millis(250) }
    }
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            send_rate: None,
            retry_max: 10,
            retry_timeout: Duration::from_secs(30),
            retry_pause_min: Duration::from_millis(100),
            retry_pause_max: Duration::from_secs(10),
            in_flight_records_max: 64,
            in_flight_bytes_max: 4 << 20,
        }
    }
}
