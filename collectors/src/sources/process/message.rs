//! The process connector's messages (linux/cn_proc.h), from bytes, and how many of them were lost.
//!
//! Pure. Messages are in the host's byte order. Limits: what is not one whole connector message is `None`; kinds that
//! are not needed come as [`Message::Other`].

/// Connector index and value of process events.
pub const CN_IDX_PROC: u32 = 1;
pub const CN_VAL_PROC: u32 = 1;

const NLMSG_HEADER_BYTES: usize = 16;
const CN_HEADER_BYTES: usize = 20;
const EVENT_AT: usize = NLMSG_HEADER_BYTES + CN_HEADER_BYTES;
const DATA_AT: usize = EVENT_AT + 16;
const NLMSG_DONE: u16 = 3;

/// What the kernel reports. Process ids are thread-group ids in the host's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Answer to a subscription; 0 is success, else an errno.
    Ack {
        error: u32,
    },
    /// A process, or only a thread of `child`, was made.
    Fork {
        parent: u32,
        child: u32,
        thread: bool,
    },
    Exec {
        pid: u32,
    },
    /// New real and effective user or group ids of a process.
    Ids {
        pid: u32,
        group: bool,
        real: u32,
        effective: u32,
    },
    /// A process renamed itself.
    Comm {
        pid: u32,
        comm: String,
    },
    /// A process, or only a thread of it, ended; `code` is a wait status.
    Exit {
        pid: u32,
        parent: u32,
        thread: bool,
        code: i32,
    },
    Other,
}

/// A message and when it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Processor it was sent on; `sequence` counts per processor.
    pub cpu: u32,
    pub sequence: u32,
    pub monotonic_ns: u64,
    pub message: Message,
}

/// Reads one datagram.
pub fn parse(bytes: &[u8]) -> Option<Received> {
    let length = u32_at(bytes, 0)? as usize;
    let whole = bytes.get(..length)?;
    let is_process_event = u32_at(whole, 16)? == CN_IDX_PROC && u32_at(whole, 20)? == CN_VAL_PROC;
    if u16_at(whole, 4)? != NLMSG_DONE || !is_process_event {
        return None;
    }
    Some(Received {
        sequence: u32_at(whole, 24)?,
        cpu: u32_at(whole, EVENT_AT + 4)?,
        monotonic_ns: u64::from_ne_bytes(whole.get(EVENT_AT + 8..EVENT_AT + 16)?.try_into().ok()?),
        message: message(u32_at(whole, EVENT_AT)?, whole.get(DATA_AT..)?)?,
    })
}

fn message(what: u32, data: &[u8]) -> Option<Message> {
    let field = |n: usize| u32_at(data, n * 4);
    Some(match what {
        0 => Message::Ack { error: field(0)? },
        0x1 => Message::Fork { parent: field(1)?, child: field(3)?, thread: field(2)? != field(3)? },
        0x2 => Message::Exec { pid: field(1)? },
        // Ids belong to threads; those of the first one are taken as the process's.
        0x4 | 0x40 if field(0)? == field(1)? => {
            Message::Ids { pid: field(1)?, group: what == 0x40, real: field(2)?, effective: field(3)? }
        }
        0x200 if field(0)? == field(1)? => {
            let name = data.get(8..24)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Message::Comm { pid: field(1)?, comm: String::from_utf8_lossy(&name[..end]).into_owned() }
        }
        0x8000_0000 => Message::Exit {
            pid: field(1)?,
            thread: field(0)? != field(1)?,
            code: field(2)? as i32,
            parent: field(5).unwrap_or(0),
        },
        _ => Message::Other,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The datagram that subscribes to process events, or ends the subscription.
pub fn subscription(listen: bool) -> Vec<u8> {
    let operation: u32 = if listen { 1 } else { 2 };
    let length = (EVENT_AT + 4) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NLMSG_DONE.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(CN_IDX_PROC.to_ne_bytes());
    bytes.extend(CN_VAL_PROC.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(4u16.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(operation.to_ne_bytes());
    bytes
}

/// Counts lost messages by the gaps in their numbers. One entry per processor.
#[derive(Debug, Default)]
pub struct LossCounter {
    next: Vec<Option<u32>>,
}

/// A kernel has at most this many processors.
const CPUS_MAX: usize = 8_192;

impl LossCounter {
    /// How many messages were lost before this one.
    pub fn lost_before(&mut self, cpu: u32, sequence: u32) -> u64 {
        let cpu = cpu as usize;
        if cpu >= CPUS_MAX {
            return 0;
        }
        if self.next.len() <= cpu {
            self.next.resize(cpu + 1, None);
        }
        let expected = self.next[cpu].replace(sequence.wrapping_add(1));
        let gap = expected.map_or(0, |expected| sequence.wrapping_sub(expected));
        // A number that went back is a counter that started anew.
        if gap > u32::MAX / 2 { 0 } else { u64::from(gap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(what: u32, data: &[u32]) -> Vec<u8> {
        let mut bytes = subscription(true);
        bytes.truncate(EVENT_AT);
        bytes[24..28].copy_from_slice(&77u32.to_ne_bytes());
        bytes.extend(what.to_ne_bytes());
        bytes.extend(3u32.to_ne_bytes());
        bytes.extend(123_456_789u64.to_ne_bytes());
        bytes.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    fn read(what: u32, data: &[u32]) -> Message {
        let received = parse(&datagram(what, data)).expect("a whole message");
        assert_eq!((received.cpu, received.sequence, received.monotonic_ns), (3, 77, 123_456_789));
        received.message
    }

    #[test]
    fn kinds_are_read() {
        assert_eq!(read(0, &[5]), Message::Ack { error: 5 });
        assert_eq!(read(1, &[11, 10, 20, 20]), Message::Fork { parent: 10, child: 20, thread: false });
        assert_eq!(read(1, &[11, 10, 12, 10]), Message::Fork { parent: 10, child: 10, thread: true });
        assert_eq!(read(2, &[21, 20]), Message::Exec { pid: 20 });
        assert_eq!(read(4, &[20, 20, 1000, 0]), Message::Ids { pid: 20, group: false, real: 1000, effective: 0 });
        assert_eq!(read(4, &[21, 20, 1000, 0]), Message::Other);
        let exit = Message::Exit { pid: 20, parent: 10, thread: false, code: 256 };
        assert_eq!(read(0x8000_0000, &[20, 20, 256, 17, 10, 10]), exit);
        assert_eq!(read(0x80, &[20, 20]), Message::Other);
        let name = [u32::from_ne_bytes(*b"bash"), 0, 0, 0];
        let comm = Message::Comm { pid: 20, comm: "bash".into() };
        assert_eq!(read(0x200, &[&[20, 20], &name[..]].concat()), comm);
    }

    #[test]
    fn what_is_cut_or_foreign_is_nothing() {
        let whole = datagram(1, &[11, 10, 20, 20]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None);
        }
        let mut foreign = whole;
        foreign[16] = 9;
        assert_eq!(parse(&foreign), None);
    }

    #[test]
    fn gaps_are_counted_per_processor_and_over_the_wrap() {
        let mut losses = LossCounter::default();
        assert_eq!(losses.lost_before(0, 100), 0);
        assert_eq!(losses.lost_before(1, 7), 0);
        assert_eq!(losses.lost_before(0, 101), 0);
        assert_eq!(losses.lost_before(0, 105), 3);
        assert_eq!(losses.lost_before(1, u32::MAX), 0, "a counter that started anew");
        assert_eq!(losses.lost_before(1, 1), 1, "0 is missing");
        assert_eq!(losses.lost_before(u32::MAX, 1), 0, "an acknowledgement has no processor");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
