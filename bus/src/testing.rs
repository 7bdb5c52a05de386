//! Real brokers for tests, in this crate and others (feature `testing`). No use in a running system.
//!
//! [`KafkaBroker`] runs `infra/dev/kafka/run`, which installs Apache Kafka if it has to and stops the broker when the
//! test's process ends, however it ends. Start one per test binary and share it: a broker costs 2–3 s and 250 MB.
//! [`NatsServer`] does the same with `infra/dev/nats/run`; it costs 0.2 s and 20 MB. [`SchemaRegistry`] runs what Kafka's
//! users have beside it, by `infra/dev/registry/run`: 7 s and 300 MB.

use crate::Address;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// Adds a listener with SASL/PLAIN and access control: `admin`/`admin-secret` may do everything,
    /// `reader`/`reader-secret` nothing.
    pub sasl: bool,
    /// Adds a listener that tells its clients to come to this port of 127.0.0.1, where the test forwards to
    /// [`KafkaBroker::proxied_address`].
    pub proxied: Option<u16>,
    /// Adds listeners with TLS, with certificates asked of clients, with TLS and SASL for `admin`, and with certificates
    /// that must not be taken; see [`KafkaBroker::tls_file`].
    pub tls: bool,
    /// The JVM's heap, `128m` when empty.
    pub heap: String,
    /// Broker settings by Kafka's names.
    pub settings: Vec<(String, String)>,
    /// The [`KafkaBroker::folder`] of a broker, to be one more of its cluster.
    pub joins: Option<PathBuf>,
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// What `infra/dev/nats/run --help` lists, e.g. `--users`.
    pub arguments: Vec<String>,
}

/// A script that runs a broker, and the folder that it keeps.
struct Runner {
    script: &'static str,
    arguments: Vec<String>,
    /// In the folder: the broker's process id.
    pid_file: &'static str,
    /// Addresses that it prints.
    lines: usize,
    data: tempfile::TempDir,
    child: Option<Child>,
    addresses: Vec<String>,
}

impl Runner {
    fn start(script: &'static str, pid_file: &'static str, lines: usize, arguments: Vec<String>) -> Self {
        let data = tempfile::Builder::new().prefix("amoskys-broker-").tempdir();
        let data = data.unwrap_or_else(|error| panic!("no temporary folder for a broker: {error}"));
        let mut runner = Self { script, arguments, pid_file, lines, data, child: None, addresses: Vec::new() };
        runner.restart();
        runner
    }

    fn kill(&mut self) {
        if self.child.is_some() {
            self.signal_broker("-KILL");
        }
        self.wait();
    }

    fn signal_broker(&self, name: &str) {
        let pid = std::fs::read_to_string(self.data.path().join(self.pid_file)).unwrap_or_default();
        if !pid.is_empty() {
            signal(name, pid.trim());
        }
    }

    fn freeze(&self) {
        self.signal_broker("-STOP");
        // On a busy machine its threads go on for a moment.
        while !self.is_stopped() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether every thread of the broker has been stopped by a signal, or there is none.
    fn is_stopped(&self) -> bool {
        let pid = std::fs::read_to_string(self.data.path().join(self.pid_file)).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.trim())).into_iter().flatten().flatten();
        let mut states = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        states.all(|stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T')))
    }

    fn stop(&mut self) {
        // Not by ending its standard input: that is how it learns that this process is gone and nobody wants the folder.
        if let Some(child) = &self.child {
            signal("-TERM", &child.id().to_string());
        }
        self.wait();
    }

    fn restart(&mut self) {
        self.stop();
        let script = script(self.script);
        let mut command = Command::new(&script);
        command.arg("--temporary").arg("--data").arg(self.data.path()).args(&self.arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{} cannot be run: {error}", script.display()));
        self.addresses = child.stdout.take().map(|output| first_lines(output, self.lines)).unwrap_or_default();
        self.child = Some(child);
        if self.addresses.len() < self.lines {
            self.wait();
            panic!("the broker did not start; {} said why on standard error", self.script);
        }
    }

    fn address(&self, index: usize) -> Address {
        let address = self.addresses.get(index).map(String::as_str).unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("the broker's address: {error}"))
    }

    fn wait(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // `wait` would close its standard input, and with that the runner would remove the folder.
        let input = child.stdin.take();
        if let Err(error) = child.wait() {
            let _ = writeln!(std::io::stderr(), "waiting for the broker's runner: {error}");
        }
        drop(input);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Nothing of it is kept, so there is no need for good order.
        self.kill();
    }
}

/// A running broker with its own folder and ports. Dropping it ends it and removes the folder.
pub struct KafkaBroker {
    runner: Runner,
    sasl: bool,
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
        let mut arguments = vec!["--fast-start".to_owned()];
        if !options.heap.is_empty() {
            arguments.extend(["--heap".to_owned(), options.heap]);
        }
        let listeners = [(options.sasl, "--sasl", 1), (options.tls, "--tls", 5)];
        let wanted = listeners.iter().filter(|(wanted, _, _)| *wanted);
        arguments.extend(wanted.clone().map(|(_, flag, _)| (*flag).to_owned()));
        for (key, value) in options.settings {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        if let Some(port) = options.proxied {
            arguments.extend(["--proxied".to_owned(), port.to_string()]);
        }
        if let Some(folder) = options.joins {
            arguments.extend(["--joins".to_owned(), folder.display().to_string()]);
        }
        let lines = 1 + wanted.map(|(_, _, lines)| lines).sum::<usize>() + usize::from(options.proxied.is_some());
        let runner = Runner::start("infra/dev/kafka/run", "broker.pid", lines, arguments);
        Self { runner, sasl: options.sasl }
    }

    /// The plain listener.
    pub fn address(&self) -> Address {
        self.runner.address(0)
    }

    /// Where it keeps everything.
    pub fn folder(&self) -> PathBuf {
        self.runner.data.path().to_owned()
    }

    /// A client to ask it questions with.
    fn client(&self) -> BaseConsumer {
        let Address::Kafka { brokers, .. } = self.address() else { unreachable!("a Kafka broker's address") };
        let client = ClientConfig::new().set("bootstrap.servers", brokers.join(",")).create();
        client.unwrap_or_else(|error| panic!("no client of Kafka: {error}"))
    }

    /// The consumer groups that the broker knows, whoever is in them.
    pub fn groups(&self) -> Vec<String> {
        let groups = self.client().fetch_group_list(None, ANSWER_WITHIN);
        let groups = groups.unwrap_or_else(|error| panic!("the broker tells no groups: {error}"));
        groups.groups().iter().map(|group| group.name().to_owned()).collect()
    }

    /// The broker that leads each partition of a topic; negative where there is none for the moment.
    pub fn leaders(&self, topic: &str) -> Vec<i32> {
        let metadata = self.client().fetch_metadata(Some(topic), ANSWER_WITHIN);
        let metadata = metadata.unwrap_or_else(|error| panic!("the broker does not tell who leads: {error}"));
        metadata.topics().iter().flat_map(|of| of.partitions()).map(|of| of.leader()).collect()
    }

    /// The listener with SASL, when it was asked for.
    pub fn sasl_address(&self) -> Address {
        self.runner.address(1)
    }

    /// Where the listener listens whose clients come to the port that was named; the last, when it was asked for.
    pub fn proxied_address(&self) -> Address {
        self.runner.address(self.runner.lines - 1)
    }

    /// Holds the broker still with SIGSTOP: connections stand, nothing is answered. Goes on by [`KafkaBroker::thaw`].
    pub fn freeze(&self) {
        self.runner.freeze();
    }

    pub fn thaw(&self) {
        self.runner.signal_broker("-CONT");
    }

    /// The listener with TLS, when that was asked for.
    pub fn tls_address(&self) -> Address {
        self.runner.address(1 + usize::from(self.sasl))
    }

    /// The listener with TLS that asks for a certificate of `ca.pem`'s.
    pub fn mutual_tls_address(&self) -> Address {
        self.runner.address(2 + usize::from(self.sasl))
    }

    /// The listener with TLS and SASL, PLAIN and SCRAM-SHA-256.
    pub fn sasl_tls_address(&self) -> Address {
        self.runner.address(3 + usize::from(self.sasl))
    }

    /// The listener with TLS whose certificate has expired.
    pub fn expired_address(&self) -> Address {
        self.runner.address(4 + usize::from(self.sasl))
    }

    /// The listener with TLS whose certificate is for another host.
    pub fn elsewhere_address(&self) -> Address {
        self.runner.address(5 + usize::from(self.sasl))
    }

    /// The path of a file of [`make_certificates`], such as `ca.pem`.
    pub fn tls_file(&self, name: &str) -> String {
        self.runner.data.path().join("tls").join(name).display().to_string()
    }

    /// Ends the broker with SIGKILL, as a crash would. Its folder stays for [`KafkaBroker::restart`].
    pub fn kill(&mut self) {
        self.runner.kill();
    }

    /// Stops the broker in good order. Its folder stays for [`KafkaBroker::restart`].
    pub fn stop(&mut self) {
        self.runner.stop();
    }

    /// Starts the broker again: same ports, same records.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn restart(&mut self) {
        self.runner.restart();
    }
}

/// Makes the folder, with the certificates and keys that `infra/dev/certificates.py` lists, as PEM files.
///
/// # Panics
/// When they cannot be made; the message says why.
pub fn make_certificates(folder: &Path) {
    let script = script("infra/dev/certificates.py");
    let made = Command::new(&script).arg(folder).output();
    let made = made.unwrap_or_else(|error| panic!("{} cannot be run: {error}", script.display()));
    assert!(made.status.success(), "no certificates: {}", String::from_utf8_lossy(&made.stderr));
}

/// A running nats-server with JetStream, its own folder and port. Dropping it ends it and removes the folder.
pub struct NatsServer {
    runner: Runner,
}

impl NatsServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn start() -> Self {
        Self::start_with(NatsOptions::default())
    }

    /// As [`NatsServer::start`], with options.
    pub fn start_with(options: NatsOptions) -> Self {
        Self { runner: Runner::start("infra/dev/nats/run", "server.pid", 1, options.arguments) }
    }

    pub fn address(&self) -> Address {
        self.runner.address(0)
    }

    /// Ends the server with SIGKILL, as a crash would. Its folder stays for [`NatsServer::restart`].
    pub fn kill(&mut self) {
        self.runner.kill();
    }

    /// Stops the server in good order. Its folder stays for [`NatsServer::restart`].
    pub fn stop(&mut self) {
        self.runner.stop();
    }

    /// Holds the server still with SIGSTOP: connections stand, nothing is answered. Goes on by [`NatsServer::thaw`].
    pub fn freeze(&self) {
        self.runner.freeze();
    }

    pub fn thaw(&self) {
        self.runner.signal_broker("-CONT");
    }

    /// Starts the server again: same port, same records.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn restart(&mut self) {
        self.runner.restart();
    }

    /// Where its records are, and what it is configured by, `server.conf`.
    pub fn folder(&self) -> &Path {
        self.runner.data.path()
    }
}

/// A running schema registry with Confluent's HTTP interface. Dropping it ends it.
pub struct SchemaRegistry {
    runner: Runner,
}

impl SchemaRegistry {
    /// Starts a registry without schemas and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn start() -> Self {
        Self { runner: Runner::start("infra/dev/registry/run", "registry.pid", 1, Vec::new()) }
    }

    /// What the paths of the interface are under.
    pub fn url(&self) -> &str {
        &self.runner.addresses[0]
    }

    /// Holds the registry still with SIGSTOP. Goes on by [`SchemaRegistry::thaw`].
    pub fn freeze(&self) {
        self.runner.freeze();
    }

    pub fn thaw(&self) {
        self.runner.signal_broker("-CONT");
    }
}

/// To this one process and no other.
fn signal(signal: &str, pid: &str) {
    let sent = Command::new("kill").args([signal, pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{signal} could not be sent to process {pid}");
}

/// Looked for where the test runs, not where this was compiled: two clones may share a target folder.
fn script(name: &str) -> PathBuf {
    let begin = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let begin = begin.unwrap_or_else(|| std::env::current_dir().unwrap_or_default());
    let found = begin.ancestors().map(|folder| folder.join(name)).find(|script| script.is_file());
    found.unwrap_or_else(|| panic!("{name} is neither in {} nor in a folder above it", begin.display()))
}

fn first_lines(output: impl std::io::Read, lines: usize) -> Vec<String> {
    BufReader::new(output).lines().take(lines).map_while(Result::ok).collect()
}
