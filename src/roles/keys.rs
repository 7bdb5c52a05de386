//! Keys of the roles: `amoskys keygen`, the folder of public keys that a processor looks at while it runs.
//!
//! Deliberately not here: what a key's file may say (amoskys-proto), how an agent goes over to another key
//! (`roles/agent.rs`). Limits: a changed folder is taken within [`LOOK_EVERY`] and the next look, 2 s, of a million keys
//! within half a minute.

use crate::{
    cli::{DONE, Misuse},
    print,
};
use amoskys_pipeline::run::{Metrics, Verify};
use amoskys_proto::{KeyFolder, SharedKeys, Signer, Terms};
use anyhow::Result;
use clap::Args;
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(50);

/// Makes an agent's signing key.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  amoskys keygen /etc/amoskys/keys/agent.ed25519.pem --agent web-1 --host web-1
Rotation and revocation: docs/keys.md")]
pub struct KeygenCommand {
    /// The private key's file (PKCS#8 PEM, mode 0600); its folder is made, a key never overwritten.
    #[arg(value_name = "FILE")]
    key: PathBuf,
    /// Bind the key to this agent_id: processors refuse what another agent signs with it. May be given again.
    #[arg(long = "agent", value_name = "ID")]
    agents: Vec<String>,
    /// Bind the key to this host_id: processors refuse what it signs about another host. May be given again.
    #[arg(long = "host", value_name = "ID")]
    hosts: Vec<String>,
}

pub fn keygen(command: KeygenCommand) -> Result<u8> {
    let KeygenCommand { key, agents, hosts } = command;
    let terms = Terms { agents, hosts, revoked_from_ms: None };
    if let Some(fault) = terms.fault() {
        return Err(Misuse(fault).into());
    }
    if let Some(folder) = key.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| Misuse(format!("cannot make the folder {}: {error}", folder.display())))?;
    }
    let there = [key.clone(), key.with_extension("pub")].into_iter().find(|path| path.exists());
    if let Some(path) = there {
        let hint = "a key is never overwritten: choose another name";
        return Err(Misuse(format!("{} is there already; {hint}", path.display())).into());
    }
    let signer = Signer::generate()?;
    let public = signer.write_files_of(&key, &terms).map_err(Misuse::because)?;
    let (private, public, id) = (key.display(), public.display(), signer.key_id());
    print::line(format_args!("private key {private}\npublic key  {public}\nkey id      {id}"))?;
    Ok(DONE)
}

/// The folder of public keys, and where its keys are put as they change.
pub struct KeyWatch {
    folder: KeyFolder,
    keys: SharedKeys,
    first: (usize, usize),
}

impl KeyWatch {
    /// Reads the folder, in which all must be good now.
    pub fn open(folder: &Path) -> Result<(Self, Verify)> {
        let (folder, ring) = KeyFolder::open(folder).map_err(Misuse::because)?;
        let first = (ring.len(), ring.revoked());
        let keys = SharedKeys::from(ring);
        Ok((Self { folder, keys: keys.clone(), first }, Verify::by(keys)))
    }

    /// Looks until `stop` is set. Verifying asks for the keys anew with each group of envelopes, so nobody waits.
    pub fn run(mut self, metrics: &Metrics, stop: &AtomicBool) {
        let (known, revoked) = self.first;
        tell(metrics, known, revoked);
        let (mut last_look, mut pause) = (Instant::now(), LOOK_EVERY);
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
            if last_look.elapsed() < pause {
                continue;
            }
            let began = Instant::now();
            self.look(metrics);
            last_look = Instant::now();
            // Looking at very many files is not to be all that a core does.
            pause = LOOK_EVERY.max((last_look - began) * 4);
        }
    }

    fn look(&mut self, metrics: &Metrics) {
        let found = self.folder.look();
        for failure in &found.failures {
            metrics.key_failures.inc();
            tracing::warn!("{failure}; the keys known before stay");
        }
        if let Some(ring) = found.ring {
            let (known, revoked) = (ring.len(), ring.revoked());
            self.keys.put(ring);
            metrics.key_reloads.inc();
            tell(metrics, known, revoked);
            tracing::info!(known, revoked, "public keys changed; those in the folder now are in force");
        }
    }
}

fn tell(metrics: &Metrics, known: usize, revoked: usize) {
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.known_keys.set(gauge(known));
    metrics.revoked_keys.set(gauge(revoked));
}
