//! Whose calls are wanted, and how many at most.

use std::num::NonZeroU32;

/// Bytes of the settings in the kernel.
pub(crate) const SETTINGS_BYTES: usize = 32;
/// Letters of a path that are compared.
pub const PATH_BYTES_MAX: usize = 64;
/// Bytes of a name of a thread.
pub const COMM_BYTES: usize = 16;

/// Nothing in it: all calls that rules want.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub pids: List<u32>,
    /// Processes, and all that come from them from now on.
    pub trees: List<u32>,
    pub uids: List<u32>,
    /// Names of threads, at most 15 bytes.
    pub comms: List<String>,
    pub cgroup_ids: List<u64>,
    /// Beginnings of the first path of a call, at most [`PATH_BYTES_MAX`] bytes; a call without a path has none of them.
    pub path_prefixes: List<String>,
    /// Of each process; `None`: without one.
    pub limit: Option<Limit>,
}

/// How many events a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub per_second: NonZeroU32,
    /// At once, after a time without any.
    pub burst: NonZeroU32,
}

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum List<T> {
    #[default]
    Off,
    /// Only these.
    Only(Vec<T>),
    /// All but these.
    Except(Vec<T>),
}

impl<T> List<T> {
    /// The same list of other things; those that there are none of are left out.
    pub fn filter_map<U>(&self, of: impl FnMut(&T) -> Option<U>) -> List<U> {
        match self {
            Self::Off => List::Off,
            Self::Only(items) => List::Only(items.iter().filter_map(of).collect()),
            Self::Except(items) => List::Except(items.iter().filter_map(of).collect()),
        }
    }

    pub(crate) fn mode(&self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Only(_) => 1,
            Self::Except(_) => 2,
        }
    }

    pub(crate) fn items(&self) -> &[T] {
        match self {
            Self::Off => &[],
            Self::Only(items) | Self::Except(items) => items,
        }
    }
}

impl Filters {
    pub(crate) fn encode(&self, own_pid: u32) -> [u8; SETTINGS_BYTES] {
        let mut bytes = [0; SETTINGS_BYTES];
        bytes[..4].copy_from_slice(&own_pid.to_ne_bytes());
        bytes[4..10].copy_from_slice(&[
            self.pids.mode(),
            self.uids.mode(),
            self.comms.mode(),
            self.cgroup_ids.mode(),
            self.path_prefixes.mode(),
            self.trees.mode(),
        ]);
        if let Some(Limit { per_second, burst }) = self.limit {
            let interval_ns = 1_000_000_000 / u64::from(per_second.get());
            bytes[16..24].copy_from_slice(&interval_ns.to_ne_bytes());
            bytes[24..].copy_from_slice(&(interval_ns * u64::from(burst.get())).to_ne_bytes());
        }
        bytes
    }
}
