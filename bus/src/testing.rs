//! Real brokers for tests, in this crate and others (feature `testing`). No use in a running system.
//!
//! [`KafkaBroker`] runs `infra/dev/kafka/run`, which installs Apache Kafka if it has to and stops the broker when the
//! test's process ends, however it ends. Start one per test binary and share it: a broker costs 2–3 s and 250 MB.

use crate::Address;
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// Adds a listener with SASL/PLAIN and access control: `admin`/`admin-secret` may do everything,
    /// `reader`/`reader-secret` nothing.
    pub sasl: bool,
    /// The JVM's heap, `128m` when empty.
    pub heap: String,
    /// Broker settings by Kafka's names.
    pub settings: Vec<(String, String)>,
}

/// A running broker with its own folder and ports. Dropping it ends it and removes the folder.
pub struct KafkaBroker {
    options: KafkaOptions,
    data: tempfile::TempDir,
    runner: Option<Child>,
    addresses: Vec<String>,
}

impl KafkaBroker {
    /// Starts a broker and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn start() -> Self {
        Self::start_with(KafkaOptions::default())
    }

    /// As [`KafkaBroker::start`], with options.
    pub fn start_with(options: KafkaOptions) -> Self {
        let data = tempfile::Builder::new().prefix("amoskys-kafka-").tempdir();
        let data = data.unwrap_or_else(|error| panic!("no temporary folder for a Kafka broker: {error}"));
        let mut broker = Self { options, data, runner: None, addresses: Vec::new() };
        broker.restart();
        broker
    }

    /// The plain listener.
    pub fn address(&self) -> Address {
        self.parsed(0)
    }

    /// The listener with SASL, when it was asked for.
    pub fn sasl_address(&self) -> Address {
        self.parsed(1)
    }

    /// Ends the broker with SIGKILL, as a crash would. Its folder stays for [`KafkaBroker::restart`].
    pub fn kill(&mut self) {
        let pid = std::fs::read_to_string(self.data.path().join("broker.pid")).unwrap_or_default();
        if self.runner.is_some() && !pid.is_empty() {
            signal("-KILL", pid.trim());
        }
        self.wait();
    }

    /// Stops the broker in good order. Its folder stays for [`KafkaBroker::restart`].
    pub fn stop(&mut self) {
        // Not by ending its standard input: that is how it learns that this process is gone and nobody wants the folder.
        if let Some(runner) = &self.runner {
            signal("-TERM", &runner.id().to_string());
        }
        self.wait();
    }

    /// Starts the broker again: same ports, same records.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = Command::new(script());
        command.args(["--fast-start", "--temporary"]).arg("--data").arg(self.data.path());
        if !self.options.heap.is_empty() {
            command.args(["--heap", &self.options.heap]);
        }
        if self.options.sasl {
            command.arg("--sasl");
        }
        for (key, value) in &self.options.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let runner = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut runner = runner.unwrap_or_else(|error| panic!("{} cannot be run: {error}", script().display()));
        let lines = if self.options.sasl { 2 } else { 1 };
        self.addresses = runner.stdout.take().map(|output| first_lines(output, lines)).unwrap_or_default();
        self.runner = Some(runner);
        if self.addresses.len() < lines {
            self.wait();
            panic!("the Kafka broker did not start; its runner said why on standard error");
        }
    }

    fn parsed(&self, index: usize) -> Address {
        let address = self.addresses.get(index).map(String::as_str).unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("the broker's address: {error}"))
    }

    fn wait(&mut self) {
        let Some(mut runner) = self.runner.take() else { return };
        // `wait` would close its standard input, and with that the runner would remove the folder.
        let input = runner.stdin.take();
        if let Err(error) = runner.wait() {
            let _ = writeln!(std::io::stderr(), "waiting for the Kafka broker's runner: {error}");
        }
        drop(input);
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // Nothing of it is kept, so there is no need for good order.
        self.kill();
    }
}

/// To this one process and no other.
fn signal(signal: &str, pid: &str) {
    let sent = Command::new("kill").args([signal, pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{signal} could not be sent to process {pid}");
}

/// Looked for where the test runs, not where this was compiled: two clones may share a target folder.
fn script() -> PathBuf {
    const SCRIPT: &str = "infra/dev/kafka/run";
    let begin = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let begin = begin.unwrap_or_else(|| std::env::current_dir().unwrap_or_default());
    let found = begin.ancestors().map(|folder| folder.join(SCRIPT)).find(|script| script.is_file());
    found.unwrap_or_else(|| panic!("{SCRIPT} is neither in {} nor in a folder above it", begin.display()))
}

fn first_lines(output: impl std::io::Read, lines: usize) -> Vec<String> {
    BufReader::new(output).lines().take(lines).map_while(Result::ok).collect()
}
