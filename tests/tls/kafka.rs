//! TLS as a user sets it: in the configuration of an agent and a processor, and in a file of properties for the topics'
//! commands; and what each of them says of a certificate that it cannot trust.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::testing::{KafkaBroker, KafkaOptions};
use common::{Running, amoskys, exit_code, free_port, http_get, until};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

struct Place {
    folder: tempfile::TempDir,
    broker: KafkaBroker,
}

impl Place {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// `[bus]` of somebody whom the broker knows, and who trusts that authority.
    fn bus_section(&self, authority: &str) -> String {
        let file = |name| self.broker.tls_file(name);
        let (authority, certificate, key) = (file(authority), file("client.pem"), file("client.key"));
        format!(
            "[bus]\nsecurity_protocol = \"ssl\"\nca_file = \"{authority}\"\n\
             certificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n"
        )
    }

    /// An agent's file; it tells its state on the log four times a second.
    fn agent_file(&self, name: &str, port: u16, authority: &str) -> PathBuf {
        let wal = self.folder.path().join(format!("{name}.wal"));
        let address = self.broker.mutual_tls_address();
        let text = format!(
            "[agent]\nsign = false\nwal_path = \"{}\"\nbus_address = \"{address}\"\nmetrics_port = {port}\n\
             health_port = {port}\nstatus_interval = \"250ms\"\nretry_timeout = \"1s\"\n[process]\nconnector = \"off\"\n{}",
            wal.display(),
            self.bus_section(authority)
        );
        self.write(&format!("{name}.toml"), &text)
    }

    /// What the topics' commands are given.
    fn properties(&self, text: &str) -> PathBuf {
        self.write("client.properties", text)
    }
}

fn said(command: &mut Command) -> (String, String, Option<i32>) {
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn agent(file: &Path) -> Command {
    let mut command = amoskys();
    command.arg("agent").arg("--config").arg(file);
    command
}

#[test]
fn an_agent_a_processor_and_the_commands_speak_tls_and_say_what_certificate_is_wrong() {
    let broker = KafkaBroker::start_with(KafkaOptions { tls: true, ..KafkaOptions::default() });
    let place = Place { folder: tempfile::tempdir().expect("a folder"), broker };

    // Somebody who trusts another authority is told so when the topics are asked for, not after a time of trying.
    let port = free_port();
    let wrong = place.agent_file("wrong", port, "other-ca.pem");
    let (_, error, code) = said(agent(&wrong).args(["--create-topics", "1"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("no TLS with kafka://") && error.contains("certificate verify failed"), "{error}");

    // An agent whose topics are there goes on, because its host's events are in the WAL; and says why it cannot send.
    let mut deaf = Running(agent(&wrong).stderr(Stdio::null()).spawn().expect("starts"));
    until("the probe tells of the certificate", || {
        http_get(port, "/healthz").is_some_and(|(well, body)| !well && body.contains("certificate verify failed"))
    });
    assert_eq!(deaf.0.try_wait().expect("a child"), None);
    drop(deaf);

    // With the right authority its state reaches the log, and is read through the listener with a login.
    let port = free_port();
    let right = place.agent_file("right", port, "ca.pem");
    let _agent = Running(agent(&right).args(["--create-topics", "1"]).spawn().expect("starts"));
    let ca = place.broker.tls_file("ca.pem");
    let properties = place.properties(&format!(
        "security.protocol=sasl_ssl\nssl.ca.location={ca}\nsasl.mechanism=PLAIN\nsasl.username=admin\n\
         sasl.password=admin-secret\n"
    ));
    let login = place.broker.sasl_tls_address().to_string();
    until("its state is on the log", || {
        let tail = ["topics", "tail", "amoskys.agent.status.v1", "--max", "1", "--bus", &login, "-F"];
        let (out, _, code) = said(amoskys().args(tail).arg(&properties));
        code == Some(0) && out.contains("snapshots")
    });

    // A processor that comes without a certificate ends, and says why.
    let stream = "CREATE EXTERNAL TABLE a (v BIGINT) STORED AS JSON LOCATION 'amoskys.agent.status.v1';\n\
                  CREATE EXTERNAL TABLE b (v BIGINT) STORED AS JSON LOCATION 'amoskys.alerts.v1';\n\
                  INSERT INTO b SELECT v FROM a;\n";
    let sql = place.write("copy.sql", stream);
    let nameless = format!("[bus]\nsecurity_protocol = \"ssl\"\nca_file = \"{ca}\"\n");
    let (mutual, port) = (place.broker.mutual_tls_address(), free_port());
    let file = place.write(
        "processor.toml",
        &format!(
            "[processor]\nbus_address = \"{mutual}\"\nverify = \"off\"\nmetrics_port = {port}\nhealth_port = {port}\n{nameless}"
        ),
    );
    let (_, error, code) = said(amoskys().arg("process").arg(&sql).arg("--config").arg(&file));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("alert") && error.contains("certificate_file"), "{error}");

    // With one it runs, and owns the partition.
    fs::write(&file, fs::read_to_string(&file).expect("read").replace(&nameless, &place.bus_section("ca.pem")))
        .expect("written");
    let mut process = amoskys();
    process.arg("process").arg(&sql).arg("--config").arg(&file).stderr(Stdio::piped());
    let mut running = Running(process.spawn().expect("starts"));
    until("it is ready", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    common::send(&running, rustix::process::Signal::TERM);
    let code = exit_code(&mut running, "its end");
    let mut error = String::new();
    running.0.stderr.take().expect("piped").read_to_string(&mut error).expect("UTF-8");
    assert_eq!(code, Some(0), "{error}");
}
