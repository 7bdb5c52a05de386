//! What a run is asked for, what it did, and the keys that its agents and processors have.

use amoskys_proto::Signer;
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Of the long form; `infra/dev/chaos` sets them.
pub struct Settings {
    pub seed: u64,
    pub kills: usize,
    pub kills_per_round: usize,
    /// How long a broker is away at the most.
    pub away: Duration,
    /// Rounds of this kind and no other.
    pub only: Option<String>,
}

impl Settings {
    pub fn from_environment() -> Self {
        Self {
            seed: seed(),
            kills: number("AMOSKYS_CHAOS_KILLS").unwrap_or(1_000),
            kills_per_round: number("AMOSKYS_CHAOS_KILLS_PER_ROUND").unwrap_or(40),
            away: Duration::from_secs(number("AMOSKYS_CHAOS_AWAY_SECONDS").unwrap_or(60)),
            only: std::env::var("AMOSKYS_CHAOS_ONLY").ok().filter(|name| !name.is_empty()),
        }
    }
}

fn number<N: FromStr>(variable: &str) -> Option<N> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The one that was asked for, or a random one; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed = number("AMOSKYS_TEST_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("AMOSKYS_TEST_SEED={seed}");
    seed
}

/// What was done and compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// SIGKILLs of processors and agents.
    pub kills: usize,
    /// Processors and agents that ended with an error and were started again.
    pub ended: usize,
    /// Records of the undisturbed run, dead letters included.
    pub outputs: usize,
    pub dead_letters: usize,
}

impl Done {
    pub fn add(&mut self, other: Done) {
        self.kills += other.kills;
        self.ended += other.ended;
        self.outputs += other.outputs;
        self.dead_letters += other.dead_letters;
    }
}

/// Files of an agent's key pair.
pub struct Keys(PathBuf);

impl Keys {
    pub fn make(folder: &Path) -> (Self, Signer) {
        let keys = Self(folder.to_owned());
        let signer = Signer::generate().expect("a key");
        fs::create_dir(folder.join("agent")).expect("a folder");
        fs::create_dir(keys.public()).expect("a folder");
        let public = signer.write_files(&keys.private()).expect("written");
        fs::rename(public, keys.public().join("key.pub")).expect("moved");
        (keys, signer)
    }

    pub fn private(&self) -> PathBuf {
        self.0.join("agent/key.pem")
    }

    /// The folder of public keys.
    pub fn public(&self) -> PathBuf {
        self.0.join("keys")
    }
}
