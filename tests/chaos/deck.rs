//! Which faults a round has, and in which order: a pure function of the seed and of how many kills are wanted.

use rand::{Rng, rngs::StdRng, seq::SliceRandom};

/// Processors that run side by side.
pub const SLOTS: usize = 3;
/// Without a word for this long, a processor's partitions are given to others.
pub const SESSION_MS: u64 = 1_000;

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL after a while, and another starts, under the same name or one of its own.
    Kill { slot: usize, after: u64, named: bool },
    /// SIGSTOP for less than the session timeout.
    Pause { slot: usize, time: u64 },
    /// SIGSTOP for longer, so that others take over, and then it wakes and writes on.
    Zombie { slot: usize, asleep: u64, awake: u64 },
    /// As `Zombie`, but another of its own name has taken over.
    Double { slot: usize, asleep: u64, awake: u64 },
    /// More processors start, one after the other, and end soon, in good order or not.
    Storm { each: [Short; 4] },
    /// What the first slot sends and is sent is cut off, or only held up.
    Network { held: bool, time: u64 },
    /// The broker stands still and answers nobody.
    Away { time: u64 },
    /// The broker is ended and started again, when a processor has just woken from SIGSTOP and records have just come.
    Restart { by_kill: bool, slot: usize, asleep: u64 },
    /// Nothing is fed in: windows close by the clock.
    Quiet { time: u64 },
}

/// A processor that does not live long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    pub after: u64,
    pub lives: u64,
    pub killed: bool,
}

/// `kills` kills and one or two of everything else, in random order.
pub fn shuffled(random: &mut StdRng, kills: usize, away_ms: u64) -> Vec<Fault> {
    let mut faults: Vec<Fault> = (0..kills).map(|_| kill(random)).collect();
    let slot = |random: &mut StdRng| random.random_range(0..SLOTS);
    faults.extend([
        Fault::Pause { slot: slot(random), time: random.random_range(50..SESSION_MS * 3 / 4) },
        Fault::Pause { slot: slot(random), time: random.random_range(50..SESSION_MS * 3 / 4) },
        Fault::Zombie { slot: slot(random), asleep: random.random_range(1_200..2_500), awake: awake(random) },
        Fault::Double { slot: slot(random), asleep: random.random_range(300..1_500), awake: awake(random) },
        Fault::Storm { each: std::array::from_fn(|_| short(random)) },
        Fault::Network { held: false, time: random.random_range(200..2_500) },
        Fault::Network { held: true, time: random.random_range(200..2_500) },
        Fault::Away { time: away_ms },
        Fault::Restart {
            by_kill: random.random(),
            slot: slot(random),
            asleep: random.random_range(50..SESSION_MS * 3 / 4),
        },
        Fault::Quiet { time: random.random_range(2_500..4_000) },
    ]);
    faults.shuffle(random);
    faults
}

fn kill(random: &mut StdRng) -> Fault {
    // Some before it has its partitions, most while it works.
    let after = if random.random_bool(0.2) { 0..300 } else { 300..1_100 };
    Fault::Kill {
        slot: random.random_range(0..SLOTS),
        after: random.random_range(after),
        named: random.random_bool(0.7),
    }
}

fn awake(random: &mut StdRng) -> u64 {
    random.random_range(100..900)
}

fn short(random: &mut StdRng) -> Short {
    Short { after: random.random_range(0..300), lives: random.random_range(0..900), killed: random.random() }
}
