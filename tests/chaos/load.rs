//! What is fed in: signed envelopes of process events of now, keyed by host, a host to a partition.
//!
//! Some events are out of order, some too late, some clocks are wrong by an hour or by fifty years; some envelopes come
//! twice; between the good ones are poison records of ten kinds, each of which has to become one dead letter. What is fed
//! follows from the seed, except for the times, which are those of now.
//! Limits: envelopes that come twice hold no row that an INSERT without a window writes: of those a processor promises
//! exactness only while the original is read again.

use crate::common::telemetry::{TELEMETRY, iso, record};
use amoskys_bus::Outgoing;
use amoskys_proto::{
    Signer,
    v1::{DeadLetterReason, EnvelopeHeader, ProcessBatch, ProcessEvent, ProcessEventKind},
};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

pub const PARTITIONS: i32 = 4;
/// Written by an INSERT without a window.
pub const MARKED_EXIT_CODE: i32 = 7;
/// The last event of a partition; in no window.
pub const LAST_PID: u32 = 999_999;
/// What the programs of the events before it are called, in every partition.
pub const ALMOST_LAST: &str = "almost";
/// So many that every partition in which groups of all partitions are merged has some.
pub const ALMOST_LAST_PROGRAMS: usize = 16;
const ENVELOPES_PER_CHUNK: usize = 8;
const EVENTS_PER_ENVELOPE: usize = 12;
/// Events of a chunk are of this long a time up to now.
const CHUNK_MS: i64 = 800;
const POISON_KINDS: u32 = 10;

pub struct Load {
    random: StdRng,
    signer: Signer,
    stranger: Signer,
    sequences: [u64; PARTITIONS as usize],
    /// May come again.
    recent: Vec<Vec<Outgoing>>,
    /// Kinds in turn, so that each comes.
    poison_next: u32,
    /// How many dead letters there have to be, by reason.
    pub poison: BTreeMap<i32, usize>,
    /// Records of each partition.
    pub records: [i64; PARTITIONS as usize],
}

impl Load {
    pub fn new(seed: u64, signer: Signer) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            signer,
            stranger: Signer::generate().expect("a key"),
            sequences: Default::default(),
            recent: vec![Vec::new(); PARTITIONS as usize],
            poison_next: 0,
            poison: BTreeMap::new(),
            records: Default::default(),
        }
    }

    /// The events of now, of all partitions.
    pub fn chunk(&mut self) -> Vec<Outgoing> {
        let now_ms = now_ms();
        let records: Vec<Outgoing> = (0..PARTITIONS).flat_map(|partition| self.of(partition, now_ms)).collect();
        self.count(&records);
        records
    }

    /// So far ahead that the last of them close every window, and not so far that they are not believed. Those before are in
    /// windows that come out with all others, also where groups of all partitions are merged.
    pub fn last(&mut self) -> Vec<Outgoing> {
        let now_ms = now_ms();
        let event = |at_ms: i64, comm: &str| ProcessEvent {
            observed_at: iso(at_ms).parse().ok(),
            comm: comm.into(),
            ..Default::default()
        };
        let last = |partition: i32| {
            let almost = |program| event(now_ms + 30_000, &format!("{ALMOST_LAST}-{program}"));
            let almost = (0..ALMOST_LAST_PROGRAMS).map(almost).collect();
            let last = ProcessEvent { pid: LAST_PID, exit_code: MARKED_EXIT_CODE, ..event(now_ms + 40_000, "last") };
            [(u64::MAX - 1, almost), (u64::MAX, vec![last])].map(|(sequence, events)| {
                record(Some(partition), &host(partition), sequence, events, Some(&self.signer))
            })
        };
        let records: Vec<Outgoing> = (0..PARTITIONS).flat_map(last).collect();
        self.count(&records);
        records
    }

    fn count(&mut self, records: &[Outgoing]) {
        for record in records {
            self.records[record.partition.expect("is told") as usize] += 1;
        }
    }

    fn of(&mut self, partition: i32, now_ms: i64) -> Vec<Outgoing> {
        let count = self.random.random_range(1..=ENVELOPES_PER_CHUNK);
        let mut records = Vec::new();
        for number in 0..count {
            let at_ms = now_ms - CHUNK_MS + CHUNK_MS * (number as i64 + 1) / count as i64;
            records.push(self.envelope(partition, at_ms));
            if self.random.random_bool(0.08) {
                records.push(self.poison(partition));
            }
            let recent = &self.recent[partition as usize];
            if !recent.is_empty() && self.random.random_bool(0.06) {
                records.push(recent[self.random.random_range(0..recent.len())].clone());
            }
        }
        records
    }

    fn envelope(&mut self, partition: i32, at_ms: i64) -> Outgoing {
        let is_marked = self.random.random_bool(0.1);
        let count = self.random.random_range(1..=EVENTS_PER_ENVELOPE);
        let events = (0..count).map(|_| self.event(at_ms, is_marked)).collect();
        let sequence = &mut self.sequences[partition as usize];
        *sequence += 1;
        let envelope = record(Some(partition), &host(partition), *sequence, events, Some(&self.signer));
        if !is_marked {
            let recent = &mut self.recent[partition as usize];
            recent.push(envelope.clone());
            recent.drain(..recent.len().saturating_sub(40));
        }
        envelope
    }

    fn event(&mut self, at_ms: i64, is_marked: bool) -> ProcessEvent {
        const PROGRAMS: [&str; 5] = ["sh", "cc", "id", "ps", "cat"];
        let random = &mut self.random;
        // An hour ahead, an hour behind, a jump ahead that is believed, never set.
        let wrong_by_ms = match random.random_range(0..1_000) {
            0..4 => 3_600_000,
            4..8 => -3_600_000,
            8..12 => 4_000,
            12..15 => -at_ms - 86_400_000,
            _ => -random.random_range(0..1_500),
        };
        ProcessEvent {
            observed_at: iso(at_ms + wrong_by_ms).parse().ok(),
            kind: ProcessEventKind::Exit.into(),
            pid: random.random_range(1_000..30_000),
            uid: random.random_range(0..6),
            comm: PROGRAMS[random.random_range(0..PROGRAMS.len())].into(),
            exit_code: if is_marked { MARKED_EXIT_CODE } else { 0 },
            lifetime_us: random.random_range(1..5_000_000),
            ..Default::default()
        }
    }

    /// One that cannot be used, of the next kind.
    fn poison(&mut self, partition: i32) -> Outgoing {
        let kind = self.poison_next;
        self.poison_next = (kind + 1) % POISON_KINDS;
        let (payload, reason) = self.poison_of(kind, partition);
        *self.poison.entry(reason.into()).or_default() += 1;
        let key = Some(host(partition).into_bytes());
        Outgoing { topic: TELEMETRY.to_owned(), partition: Some(partition), key, payload, headers: Vec::new() }
    }

    fn poison_of(&mut self, kind: u32, partition: i32) -> (Vec<u8>, DeadLetterReason) {
        use DeadLetterReason::*;
        let good = |signer: Option<&Signer>| {
            let event = ProcessEvent { observed_at: iso(now_ms()).parse().ok(), ..Default::default() };
            record(Some(partition), &host(partition), 0, vec![event], signer).payload
        };
        match kind {
            0 => (self.random.random::<[u8; 32]>().map(|byte| byte | 0x80).to_vec(), Malformed),
            1 => {
                let whole = good(Some(&self.signer));
                (whole[..whole.len() - 3].to_vec(), Malformed)
            }
            // A field that says it has two billion bytes.
            2 => (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3], Malformed),
            3 => (good(None), Unsigned),
            4 => {
                let mut altered = good(Some(&self.signer));
                // In the signature, which comes last.
                *altered.last_mut().expect("not empty") ^= 1;
                (altered, BadSignature)
            }
            5 => (good(Some(&self.stranger)), UnknownKey),
            6 => (self.sealed("amoskys.v1.AgentStatusBatch", ProcessBatch::default().encode_to_vec()), SchemaMismatch),
            7 => (self.sealed("amoskys.v1.ProcessBatch", vec![0x0a, 0x05, 1]), Malformed),
            // An event whose time is no message.
            8 => (self.sealed("amoskys.v1.ProcessBatch", vec![0x0a, 0x02, 0x0a, 0x7f]), Malformed),
            // More events than a record may have.
            _ => (self.sealed("amoskys.v1.ProcessBatch", [0x0a, 0x00].repeat((1 << 16) + 1)), TooLarge),
        }
    }

    fn sealed(&self, schema: &str, payload: Vec<u8>) -> Vec<u8> {
        let header =
            EnvelopeHeader { agent_id: "poison".to_owned(), schema: schema.to_owned(), ..EnvelopeHeader::default() };
        self.signer.seal(header, payload.into()).encode_to_vec()
    }
}

fn host(partition: i32) -> String {
    format!("h{partition}")
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis().try_into().expect("in range")
}
