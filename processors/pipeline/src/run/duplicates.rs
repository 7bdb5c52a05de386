//! Envelopes that came before: the same agent, boot and sequence is counted once.
//!
//! Agents send again what was not acknowledged, so an envelope may be in the log twice. Of each agent and boot the
//! greatest sequence is kept and which of those below it were seen. This is rebuilt by reading again after a restart: a
//! duplicate whose original lies before what is read again has rows that no open window is left for, so no window counts
//! it; only an INSERT without a window may then repeat its rows.
//!
//! Limits: [`SEQUENCES`] below the greatest of an agent (what is older is taken as new: better twice than not at all);
//! `AGENTS_MAX` agents in a partition, of which the one that was silent the longest is forgotten.

use arrow::{
    array::{ArrayRef, AsArray, FixedSizeBinaryBuilder, StringArray, UInt64Array},
    datatypes::UInt64Type,
    error::ArrowError,
    record_batch::RecordBatch,
};
use std::{collections::HashMap, sync::Arc};

/// How far back an agent's sequences are known.
pub const SEQUENCES: u64 = 1024;
const WORDS: usize = SEQUENCES as usize / 64;
const AGENTS_MAX: usize = 16_384;

/// Of one partition.
#[derive(Default)]
pub struct Seen {
    agents: HashMap<String, Window>,
    key: String,
    /// Envelopes admitted or refused; tells who was silent the longest.
    now: u64,
    /// What was before each change, while that is kept.
    changes: Option<Vec<Change>>,
}

/// An agent before a record.
struct Change {
    offset: i64,
    now: u64,
    key: String,
    before: Option<Window>,
}

#[derive(Clone)]
struct Window {
    greatest: u64,
    /// Bit `n`: `greatest - n` was seen.
    seen: [u64; WORDS],
    last: u64,
}

impl Seen {
    /// Keeps from now on what [`Seen::before`] wants.
    pub fn keep_changes(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// As it was before the record at `offset`, if that is not before the last call of [`Seen::forget_changes`].
    pub fn before(&self, offset: i64) -> Self {
        let mut before = Self { agents: self.agents.clone(), now: self.now, ..Self::default() };
        for change in self.changes.iter().flatten().rev().take_while(|change| change.offset >= offset) {
            before.now = change.now;
            match &change.before {
                Some(window) => before.agents.insert(change.key.clone(), window.clone()),
                None => before.agents.remove(&change.key),
            };
        }
        before
    }

    pub fn forget_changes(&mut self) {
        self.changes.iter_mut().for_each(Vec::clear);
    }

    /// Before what `key` says is changed by the record at `offset`.
    fn note_change(&mut self, offset: i64) {
        if let Some(changes) = &mut self.changes {
            let before = self.agents.get(&self.key).cloned();
            changes.push(Change { offset, now: self.now, key: self.key.clone(), before });
        }
    }

    /// Whether the envelope in the record at `offset` is new; it is not from then on. Without a sequence or an agent
    /// nothing is known of it.
    pub fn admit(&mut self, offset: i64, agent_id: &str, boot_id: &str, sequence: u64) -> bool {
        if sequence == 0 || agent_id.is_empty() {
            return true;
        }
        self.key.clear();
        // Neither holds a NUL in what agents send; one that does has its own envelopes confused, nobody else's.
        self.key.extend([agent_id, "\0", boot_id]);
        self.note_change(offset);
        self.now += 1;
        if let Some(window) = self.agents.get_mut(&self.key) {
            window.last = self.now;
            return window.admit(sequence);
        }
        if self.agents.len() == AGENTS_MAX {
            self.forget_the_silent(offset);
        }
        self.agents.insert(self.key.clone(), Window::begin(sequence, self.now));
        true
    }

    /// What was admitted could not be used: the same may come again as it should be.
    pub fn withdraw(&mut self, offset: i64, agent_id: &str, boot_id: &str, sequence: u64) {
        self.key.clear();
        self.key.extend([agent_id, "\0", boot_id]);
        self.note_change(offset);
        if let Some(window) = self.agents.get_mut(&self.key) {
            let back = window.greatest.saturating_sub(sequence);
            if back < SEQUENCES {
                window.seen[back as usize / 64] &= !(1 << (back % 64));
            }
        }
    }

    /// A sixteenth at once, so that looking for them costs little for each.
    fn forget_the_silent(&mut self, offset: i64) {
        let mut lasts: Vec<u64> = self.agents.values().map(|window| window.last).collect();
        let (_, bound, _) = lasts.select_nth_unstable(AGENTS_MAX / 16);
        let bound = *bound;
        if let Some(changes) = &mut self.changes {
            let silent = self.agents.iter().filter(|(_, window)| window.last < bound);
            let change = |(key, window): (&String, &Window)| Change {
                offset,
                now: self.now - 1,
                key: key.clone(),
                before: Some(window.clone()),
            };
            changes.extend(silent.map(change));
        }
        self.agents.retain(|_, window| window.last >= bound);
    }
}

impl Seen {
    /// A row for each agent: who, the greatest sequence, which below it were seen, when it was last heard of; the last row,
    /// of nobody, says how late it is.
    pub fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let mut agents: Vec<(&String, &Window)> = self.agents.iter().collect();
        agents.sort_by_key(|(key, _)| *key);
        let greatest = agents.iter().map(|(_, window)| window.greatest).chain([0]);
        let lasts = agents.iter().map(|(_, window)| window.last).chain([self.now]);
        let mut seen = FixedSizeBinaryBuilder::new(WORDS as i32 * 8);
        for words in agents.iter().map(|(_, window)| window.seen).chain([[0; WORDS]]) {
            seen.append_value(words.map(u64::to_le_bytes).concat())?;
        }
        RecordBatch::try_from_iter([
            (
                "agent",
                Arc::new(StringArray::from_iter(agents.iter().map(|(key, _)| Some(key)).chain([None]))) as ArrayRef,
            ),
            ("greatest", Arc::new(UInt64Array::from_iter_values(greatest))),
            ("seen", Arc::new(seen.finish())),
            ("last", Arc::new(UInt64Array::from_iter_values(lasts))),
        ])
    }

    /// `None` when it is not from [`Seen::to_batch`].
    pub fn from_batch(batch: &RecordBatch) -> Option<Self> {
        let agents = batch.column_by_name("agent")?.as_string_opt::<i32>()?;
        let greatest = batch.column_by_name("greatest")?.as_primitive_opt::<UInt64Type>()?;
        let seen = batch.column_by_name("seen")?.as_fixed_size_binary_opt()?;
        let lasts = batch.column_by_name("last")?.as_primitive_opt::<UInt64Type>()?;
        let mut read = Self::default();
        for (row, agent) in agents.iter().enumerate() {
            let Some(agent) = agent else {
                read.now = lasts.value(row);
                continue;
            };
            let mut window = Window { greatest: greatest.value(row), seen: [0; WORDS], last: lasts.value(row) };
            for (word, bytes) in window.seen.iter_mut().zip(seen.value(row).chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().ok()?);
            }
            read.agents.insert(agent.to_owned(), window);
        }
        Some(read)
    }
}

impl Window {
    fn begin(sequence: u64, last: u64) -> Self {
        let mut seen = [0; WORDS];
        seen[0] = 1;
        Self { greatest: sequence, seen, last }
    }

    fn admit(&mut self, sequence: u64) -> bool {
        if sequence > self.greatest {
            self.shift(sequence - self.greatest);
            self.greatest = sequence;
            self.seen[0] |= 1;
            return true;
        }
        let back = self.greatest - sequence;
        if back >= SEQUENCES {
            return true;
        }
        let (word, bit) = (back as usize / 64, 1 << (back % 64));
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    /// What was `n` below the greatest is now `n + by` below it.
    fn shift(&mut self, by: u64) {
        if by >= SEQUENCES {
            self.seen = [0; WORDS];
            return;
        }
        let (words, bits) = (by as usize / 64, by % 64);
        for index in (0..WORDS).rev() {
            let at = |index: usize| self.seen[index];
            let low = index.checked_sub(words).map_or(0, at);
            let carry = index.checked_sub(words + 1).map_or(0, at);
            self.seen[index] = if bits == 0 { low } else { low << bits | carry >> (64 - bits) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn counts_each_sequence_once(steps in prop::collection::vec((0u64..3, 0u64..1500, 0u64..90), 1..300)) {
            let (mut seen, mut known) = (Seen::default(), BTreeSet::new());
            let mut greatest = 1u64;
            for (kind, far, near) in steps {
                let sequence = match kind {
                    0 => greatest + near,
                    1 => greatest.saturating_sub(near).max(1),
                    _ => greatest.saturating_sub(far).max(1),
                };
                greatest = greatest.max(sequence);
                let admitted = seen.admit(0, "agent", "boot", sequence);
                if greatest - sequence < SEQUENCES {
                    prop_assert_eq!(admitted, !known.contains(&sequence), "{}", sequence);
                } else {
                    prop_assert!(admitted, "too long ago to be known");
                }
                known.insert(sequence);
            }
        }
    }

    #[test]
    fn agents_and_boots_are_told_apart_and_what_says_nothing_is_let_through() {
        let mut seen = Seen::default();
        assert!(seen.admit(0, "a", "1", 7) && seen.admit(0, "a", "2", 7) && seen.admit(0, "b", "1", 7));
        assert!(!seen.admit(0, "a", "1", 7) && !seen.admit(0, "a", "2", 7) && !seen.admit(0, "b", "1", 7));
        assert!(seen.admit(0, "", "1", 7) && seen.admit(0, "", "1", 7), "no agent");
        assert!(seen.admit(0, "a", "1", 0) && seen.admit(0, "a", "1", 0), "no sequence");
        assert!(seen.admit(0, "a", "1", u64::MAX) && !seen.admit(0, "a", "1", u64::MAX));
        seen.withdraw(0, "b", "1", 7);
        assert!(seen.admit(0, "b", "1", 7) && !seen.admit(0, "b", "1", 7));
    }

    #[test]
    fn what_was_before_a_record_is_known_and_reads_back() {
        let mut seen = Seen::default();
        seen.keep_changes();
        let steps: [(i64, &str, u64); 7] =
            [(1, "a", 5), (2, "b", 9), (3, "a", 6), (4, "a", 6), (5, "c", 1), (6, "b", 2000), (7, "a", 4)];
        let mut states = Vec::new();
        for (offset, agent, sequence) in steps {
            states.push(seen.to_batch().expect("an array for each"));
            seen.admit(offset, agent, "boot", sequence);
            if offset == 3 {
                seen.withdraw(offset, agent, "boot", sequence);
            }
        }
        for (step, state) in steps.iter().zip(&states) {
            assert_eq!(seen.before(step.0).to_batch().expect("an array for each"), *state, "before {step:?}");
            let back = Seen::from_batch(state).expect("reads");
            assert_eq!(back.to_batch().expect("an array for each"), *state);
        }
        let mut back = Seen::from_batch(&seen.to_batch().expect("an array for each")).expect("reads");
        assert!(!back.admit(8, "b", "boot", 2000) && !back.admit(8, "a", "boot", 6) && back.admit(8, "a", "boot", 7));
        seen.forget_changes();
        assert_eq!(seen.before(0).to_batch().expect("an array for each"), seen.to_batch().expect("an array for each"));
    }

    #[test]
    fn the_longest_silent_are_forgotten_first() {
        let mut seen = Seen::default();
        for agent in 0..AGENTS_MAX as u64 {
            assert!(seen.admit(0, &agent.to_string(), "boot", 5));
        }
        assert!(!seen.admit(0, "0", "boot", 5), "still known, and no longer silent");
        assert!(seen.admit(0, "one more", "boot", 5));
        assert!(seen.agents.len() <= AGENTS_MAX);
        assert!(!seen.admit(0, "0", "boot", 5) && seen.admit(0, "1", "boot", 5));
    }
}
