//! The ring by which programs in the kernel tell what they saw, and the taking of it.
//!
//! It is mapped into this process when it is polled first: mapped it counts twice in what the process has resident, and while programs are
//! loaded the kernel's types are there ([`KernelTypes`](crate::KernelTypes)). Deliberately not here: what lies in it.
//! Limits: a power of two, [`BYTES_MIN`] at least.

use crate::{ProbeError, probe::missing};
use aya::{
    Ebpf,
    maps::{Map, MapData, RingBuf},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;

/// What it is called among the maps.
pub(crate) const NAME: &str = "events";
/// The kernel takes powers of two, and no smaller one.
const BYTES_MIN: u32 = 1 << 12;

pub(crate) struct Ring {
    /// Until it is polled.
    unmapped: Option<Map>,
    mapped: Option<RingBuf<MapData>>,
}

/// Bytes that the kernel takes for a ring.
pub(crate) fn bytes_of(bytes: u32) -> u32 {
    bytes.max(BYTES_MIN).checked_next_power_of_two().unwrap_or(1 << 31)
}

impl Ring {
    pub(crate) fn of(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = ebpf.take_map(NAME).ok_or_else(|| missing(NAME))?;
        Ok(Self { unmapped: Some(map), mapped: None })
    }

    /// Hands over what is in it, at most `items_max`, and waits for the first of it at most `wait`. How many there were.
    pub(crate) fn poll(
        &mut self,
        wait: Duration,
        items_max: usize,
        on_item: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ProbeError> {
        if let Some(map) = self.unmapped.take() {
            self.mapped = Some(RingBuf::try_from(map)?);
        }
        let ring = self.mapped.as_mut().ok_or_else(|| missing(NAME))?;
        let taken = take(ring, items_max, on_item);
        if taken > 0 || wait.is_zero() {
            return Ok(taken);
        }
        let mut waited = [PollFd::new(ring, PollFlags::IN)];
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut waited, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(take(ring, items_max, on_item)),
            Err(error) => Err(ProbeError::Wait(error.into())),
        }
    }
}

fn take(ring: &mut RingBuf<MapData>, items_max: usize, on_item: &mut dyn FnMut(&[u8])) -> usize {
    let mut taken = 0;
    while taken < items_max
        && let Some(item) = ring.next()
    {
        taken += 1;
        on_item(&item);
    }
    taken
}
