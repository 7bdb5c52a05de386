//! TLS and logins as a user sets them, for the binary and against real brokers: what works, and what an agent says of a
//! certificate or a login that is not taken, which is one line.
//!
//! Deliberately not here: what each kind of handle says (the conformance tests of `bus`).

// Each test file uses a part of it.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;

mod kafka;
mod nats;

use amoskys_bus::{Bus, BusOptions, Security, TopicPartition};
use amoskys_proto::{EnvelopeView, KeyRing};
use common::{Running, amoskys, free_port, read_records, telemetry::TELEMETRY};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// So long is listened for a second line; a client tries again several times meanwhile.
const LISTENED: Duration = Duration::from_secs(4);

/// A folder for what agents need.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// An agent's file, with `[bus]`; it signs, tells its state on the log four times a second, and has longer for an envelope
    /// than these tests wait for what it says.
    fn agent_file(&self, name: &str, address: &str, port: u16, bus: &str) -> PathBuf {
        let (wal, key) = (self.path(&format!("{name}.wal")), self.key(name));
        let text = format!(
            "[agent]\nagent_id = \"{name}\"\nhost_id = \"{name}\"\nsigning_key = \"{}\"\nwal_path = \"{}\"\n\
             bus_address = \"{address}\"\nmetrics_port = {port}\nhealth_port = {port}\nstatus_interval = \"250ms\"\n\
             retry_timeout = \"5m\"\n[process]\nsource = \"snapshots\"\n[syscall]\nsource = \"off\"\n[bus]\n{bus}",
            key.display(),
            wal.display(),
        );
        self.write(&format!("{name}.toml"), &text)
    }

    /// The private key of an agent, made if it is not there; the public half is beside it.
    fn key(&self, name: &str) -> PathBuf {
        let path = self.path("keys").join(format!("{name}.pem"));
        if !path.exists() {
            let made = amoskys().arg("keygen").arg(&path).output().expect("it runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        path
    }

    /// How many envelopes of an agent are in the topic of process telemetry; each is signed with its key.
    fn signed(&self, bus: &dyn Bus, name: &str) -> usize {
        let public = self.path(&format!("{name}.trusted"));
        fs::create_dir_all(&public).expect("made");
        fs::copy(self.key(name).with_extension("pub"), public.join("key.pub")).expect("copied");
        let ring = KeyRing::load(&public).expect("a key");
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        let mut count = 0;
        read_records(bus, &TopicPartition { topic: TELEMETRY.into(), partition: 0 }, &mut |record| {
            let view = EnvelopeView::parse(record.payload).expect("an envelope");
            if view.header.agent_id == name {
                assert_eq!(ring.verify_one(&view, now_ms), Ok(()));
                count += 1;
            }
        });
        count
    }
}

fn agent(file: &Path) -> Command {
    let mut command = amoskys();
    command.arg("agent").arg("--config").arg(file);
    command
}

/// Standard output, standard error, exit code.
fn said(command: &mut Command) -> (String, String, Option<i32>) {
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// An agent that runs, and what it writes on standard error.
struct Agent {
    running: Running,
    port: u16,
    log: PathBuf,
}

impl Agent {
    /// With warnings as all that is logged, and Amoskys' topics made if `topics`.
    fn start(place: &Place, name: &str, address: &str, bus: &str, topics: bool) -> Self {
        let (port, log) = (free_port(), place.path(&format!("{name}.log")));
        let mut command = agent(&place.agent_file(name, address, port, bus));
        if topics {
            command.args(["--create-topics", "1"]);
        }
        let running = Running(command.stderr(File::create(&log).expect("a file")).spawn().expect("starts"));
        Self { running, port, log }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).expect("UTF-8").lines().map(str::to_owned).collect()
    }
}

/// Waits until each agent has said something, and longer; it was one line with all of these parts in it.
fn each_says_one_line(agents: &[(Agent, Vec<String>)]) {
    for (agent, parts) in agents {
        common::until(&format!("a line of {parts:?}"), || !agent.lines().is_empty());
    }
    thread::sleep(LISTENED);
    for (agent, parts) in agents {
        let lines = agent.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        parts.iter().for_each(|part| assert!(lines[0].contains(part), "{part}: {}", lines[0]));
        assert!(!lines[0].contains("not-the-password"), "{}", lines[0]);
    }
}

fn open(address: &str, security: Security, extra: Vec<(String, String)>) -> Arc<dyn Bus> {
    let address = address.parse().expect("an address");
    let options = BusOptions { address, security, client_id: "test".into(), extra };
    amoskys_bus::open(&options).expect("the log opens")
}
