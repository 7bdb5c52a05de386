//! Envelopes that came before: the same agent, boot and sequence is counted once.
//!
//! Agents send again what was not acknowledged, so an envelope may be in the log twice. Of each agent and boot the
//! greatest sequence is kept and which of those below it were seen. This is rebuilt by reading again after a restart: a
//! duplicate whose original lies before what is read again has rows that no open window is left for, so no window counts
//! it; only an INSERT without a window may then repeat its rows.
//!
//! Limits: [`SEQUENCES`] below the greatest of an agent (what is older is taken as new: better twice than not at all);
//! `AGENTS_MAX` agents in a partition, of which the one that was silent the longest is forgotten.

use std::collections::HashMap;

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
}

struct Window {
    greatest: u64,
    /// Bit `n`: `greatest - n` was seen.
    seen: [u64; WORDS],
    last: u64,
}

impl Seen {
    /// Whether the envelope is new; it is not from then on. Without a sequence or an agent nothing is known of it.
    pub fn admit(&mut self, agent_id: &str, boot_id: &str, sequence: u64) -> bool {
        if sequence == 0 || agent_id.is_empty() {
            return true;
        }
        self.now += 1;
        self.key.clear();
        // Neither holds a NUL in what agents send; one that does has its own envelopes confused, nobody else's.
        self.key.extend([agent_id, "\0", boot_id]);
        if let Some(window) = self.agents.get_mut(&self.key) {
            window.last = self.now;
            return window.admit(sequence);
        }
        if self.agents.len() == AGENTS_MAX {
            self.forget_the_silent();
        }
        self.agents.insert(self.key.clone(), Window::begin(sequence, self.now));
        true
    }

    /// What was admitted could not be used: the same may come again as it should be.
    pub fn withdraw(&mut self, agent_id: &str, boot_id: &str, sequence: u64) {
        self.key.clear();
        self.key.extend([agent_id, "\0", boot_id]);
        if let Some(window) = self.agents.get_mut(&self.key) {
            let back = window.greatest.saturating_sub(sequence);
            if back < SEQUENCES {
                window.seen[back as usize / 64] &= !(1 << (back % 64));
            }
        }
    }

    /// A sixteenth at once, so that looking for them costs little for each.
    fn forget_the_silent(&mut self) {
        let mut lasts: Vec<u64> = self.agents.values().map(|window| window.last).collect();
        let (_, bound, _) = lasts.select_nth_unstable(AGENTS_MAX / 16);
        let bound = *bound;
        self.agents.retain(|_, window| window.last >= bound);
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
                let admitted = seen.admit("agent", "boot", sequence);
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
        assert!(seen.admit("a", "1", 7) && seen.admit("a", "2", 7) && seen.admit("b", "1", 7));
        assert!(!seen.admit("a", "1", 7) && !seen.admit("a", "2", 7) && !seen.admit("b", "1", 7));
        assert!(seen.admit("", "1", 7) && seen.admit("", "1", 7), "no agent");
        assert!(seen.admit("a", "1", 0) && seen.admit("a", "1", 0), "no sequence");
        assert!(seen.admit("a", "1", u64::MAX) && !seen.admit("a", "1", u64::MAX));
        seen.withdraw("b", "1", 7);
        assert!(seen.admit("b", "1", 7) && !seen.admit("b", "1", 7));
    }

    #[test]
    fn the_longest_silent_are_forgotten_first() {
        let mut seen = Seen::default();
        for agent in 0..AGENTS_MAX as u64 {
            assert!(seen.admit(&agent.to_string(), "boot", 5));
        }
        assert!(!seen.admit("0", "boot", 5), "still known, and no longer silent");
        assert!(seen.admit("one more", "boot", 5));
        assert!(seen.agents.len() <= AGENTS_MAX);
        assert!(!seen.admit("0", "boot", 5) && seen.admit("1", "boot", 5));
    }
}
