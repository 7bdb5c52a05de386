//! Whose telemetry is believed, through the real binary and a real NATS server: what is altered, replayed, out of order, signed by
//! somebody else or with a revoked key is told apart; keys come and go while a processor runs; an agent changes its key.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, Outgoing, TopicPartition, testing::NatsServer};
use amoskys_proto::{
    EnvelopeView, KeyRing, Signer, Terms,
    v1::{DeadLetter, DeadLetterReason, Envelope},
};
use common::{
    Running, amoskys, create, exit_code, free_port, http_get, open,
    processor::Processor,
    produce, read_all, read_records, send,
    telemetry::{DEAD_LETTERS, TELEMETRY, event, iso, record},
    until,
};
use prost::Message;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Each event that counts, as a row.
const SQL: &str = "
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '1s', partition_key 'host_id');
CREATE EXTERNAL TABLE rows (agent_id VARCHAR, pid BIGINT) STORED AS JSON LOCATION 'rows';
INSERT INTO rows SELECT agent_id, pid FROM processes;";

const STATUS: &str = "amoskys.agent.status.v1";

/// What an agent says of itself, by the numbers of its envelopes.
const SQL_OF_STATUS: &str = "
CREATE EXTERNAL TABLE status STORED AS ENVELOPE LOCATION 'amoskys.agent.status.v1'
OPTIONS (event_time 'observed_at', lateness '1s', partition_key 'host_id');
CREATE EXTERNAL TABLE rows (agent_id VARCHAR, sequence BIGINT) STORED AS JSON LOCATION 'rows';
INSERT INTO rows SELECT agent_id, sequence FROM status;";

/// A change in the folder of keys is in force by then; the docs say five seconds.
const IN_FORCE: Duration = Duration::from_secs(5);

/// A server with the topics, SQL and a folder of public keys.
struct Stage {
    folder: tempfile::TempDir,
    server: NatsServer,
    bus: Arc<dyn Bus>,
}

impl Stage {
    fn new(sql: &str) -> Self {
        let server = NatsServer::start();
        let bus = open(&server.address().to_string());
        [TELEMETRY, STATUS, "rows", DEAD_LETTERS].iter().for_each(|topic| create(bus.as_ref(), topic, 1));
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("keys")).expect("made");
        fs::write(folder.path().join("q.sql"), sql).expect("written");
        Self { folder, server, bus }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, group: &str) -> Processor {
        Processor::start(&self.path("q.sql"), &self.server.address().to_string(), group, |command| {
            command.env("AMOSKYS_PROCESSOR_VERIFY", "required").env("AMOSKYS_PROCESSOR_KEYS_DIR", self.path("keys"));
            // Refusals are warnings, and meant here.
            command.env("AMOSKYS_LOG", "error").args(["--workers", "1"]);
        })
    }

    /// A key whose public half is in the processors' folder, under this name.
    fn key(&self, name: &str, terms: &Terms) -> Signer {
        let signer = Signer::generate().expect("a key");
        self.publish(name, &signer, terms);
        signer
    }

    fn publish(&self, name: &str, signer: &Signer, terms: &Terms) {
        let public = signer.write_files_of(&self.path(&format!("{name}.key")), terms).expect("written");
        fs::rename(public, self.public(name)).expect("moved");
    }

    fn public(&self, name: &str) -> PathBuf {
        self.path("keys").join(format!("{name}.pub"))
    }

    fn revoke(&self, name: &str, from: &str) {
        let text = fs::read_to_string(self.public(name)).expect("is there");
        fs::write(self.public(name), format!("{text}revoked: {from}\n")).expect("written");
    }

    fn send(&self, records: impl IntoIterator<Item = Outgoing>) {
        produce(self.bus.as_ref(), records);
    }

    /// Pids of the rows, in their order.
    fn pids(&self) -> Vec<i64> {
        self.rows().iter().map(|row| row["pid"].as_i64().expect("a number")).collect()
    }

    fn rows(&self) -> Vec<Value> {
        let payloads = read_all(self.bus.as_ref(), "rows", 1).remove(0);
        payloads.iter().map(|payload| serde_json::from_slice(payload).expect("JSON")).collect()
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        let payloads = read_all(self.bus.as_ref(), DEAD_LETTERS, 1).remove(0);
        payloads.iter().map(|payload| DeadLetter::decode(&payload[..]).expect("a dead letter")).collect()
    }

    fn reasons(&self) -> Vec<DeadLetterReason> {
        self.dead_letters().iter().map(DeadLetter::reason).collect()
    }
}

/// An envelope of one event with this pid.
fn envelope(agent: &str, sequence: u64, pid: i64, signer: Option<&Signer>) -> Outgoing {
    let event = event(json!({ "kind": "PROCESS_EVENT_KIND_EXEC", "pid": pid, "observedAt": iso(now_ms()) }));
    record(Some(0), agent, sequence, vec![event], signer)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis().try_into().expect("in range")
}

/// A metric's sample, by its name and labels.
fn metric(processor: &Processor, sample: &str) -> Option<u64> {
    let (_, page) = processor.get("/metrics")?;
    let line = page.lines().find_map(|line| line.strip_prefix("amoskys_processor_")?.strip_prefix(sample));
    line.map(|value| value.trim().parse().unwrap_or_else(|_| panic!("{sample} is no number: {page}")))
}

fn refused(processor: &Processor, reason: &str) -> Option<u64> {
    metric(processor, &format!("refused_records_total{{reason=\"{reason}\"}}"))
}

/// Waits for a metric; how long that took.
fn until_metric(processor: &mut Processor, sample: &str, value: u64) -> Duration {
    let began = Instant::now();
    processor.until(&format!("{sample} is {value}"), |processor| metric(processor, sample) == Some(value));
    began.elapsed()
}

fn bound_to(agent: &str) -> Terms {
    Terms { agents: vec![agent.to_owned()], hosts: vec![agent.to_owned()], revoked_from_ms: None }
}

#[test]
fn each_envelope_that_is_not_to_be_believed_is_told_apart() {
    let stage = Stage::new(SQL);
    let signer = stage.key("web-1", &bound_to("web-1"));
    let lost = stage.key("lost", &Terms::default());
    stage.revoke("lost", "2020-01-01T00:00:00Z");
    let stranger = Signer::generate().expect("a key");
    let mut processor = stage.start("believing");

    // Out of order, and one that comes twice more.
    let again = envelope("web-1", 2, 2, Some(&signer));
    let first = envelope("web-1", 1, 1, Some(&signer));
    let fourth = envelope("web-1", 4, 4, Some(&signer));
    stage.send([fourth, again.clone(), first, again.clone(), envelope("web-1", 3, 3, Some(&signer)), again]);
    // An altered one: the event says another pid than was signed. What was signed comes after it.
    let fifth = envelope("web-1", 5, 5, Some(&signer));
    let mut altered = Envelope::decode(&fifth.payload[..]).expect("an envelope");
    let other = envelope("web-1", 5, 666, Some(&signer));
    altered.payload = Envelope::decode(&other.payload[..]).expect("an envelope").payload;
    stage.send([Outgoing { payload: altered.encode_to_vec(), ..fifth.clone() }, fifth]);
    stage.send([
        envelope("web-1", 6, 666, None),
        envelope("web-1", 7, 666, Some(&stranger)),
        // Of another agent and host, with the key of this one.
        envelope("db-1", 8, 666, Some(&signer)),
        envelope("web-1", 9, 666, Some(&lost)),
        envelope("web-1", 10, 10, Some(&signer)),
    ]);

    until("the last one counts", || stage.pids().contains(&10));
    assert_eq!(stage.pids(), [4, 2, 1, 3, 5, 10], "each once, in the log's order");
    use DeadLetterReason::{BadSignature, KeyOfAnother, RevokedKey, UnknownKey, Unsigned};
    assert_eq!(stage.reasons(), [BadSignature, Unsigned, UnknownKey, KeyOfAnother, RevokedKey]);
    let letters = stage.dead_letters();
    let stolen =
        format!("key {} is bound to other agents, and the envelope says it is of agent \"db-1\"", signer.key_id());
    assert_eq!(letters[3].detail, stolen);
    assert!(letters[4].detail.contains(&format!("key {} is revoked", lost.key_id())), "{}", letters[4].detail);
    for reason in ["bad_signature", "unsigned", "unknown_key", "key_of_another", "revoked_key"] {
        processor.until(reason, |processor| refused(processor, reason) == Some(1));
    }
    assert_eq!((refused(&processor, "malformed"), refused(&processor, "too_large")), (Some(0), Some(0)));
    let total = |name: &str| metric(&processor, &format!("{name}_total "));
    assert_eq!((total("dead_records"), total("duplicate_records"), total("decoded_rows")), (Some(5), Some(2), Some(6)));
    processor.terminate();
}

#[test]
fn keys_that_come_go_or_break_are_taken_while_it_runs() {
    let stage = Stage::new(SQL);
    let one = stage.key("one", &Terms::default());
    let two = Signer::generate().expect("a key");
    let mut processor = stage.start("changing");
    until_metric(&mut processor, "known_keys ", 1);
    let (mut pid, mut expected) = (0, Vec::new());
    // One of each, the first of which is always good.
    let mut both = |is_good: bool| {
        pid += 2;
        stage.send([envelope("one", pid as u64, pid, Some(&one)), envelope("two", pid as u64, pid + 1, Some(&two))]);
        expected.push(pid);
        expected.extend(is_good.then_some(pid + 1));
        until("what was sent was judged", || stage.pids().contains(&pid));
        thread::sleep(Duration::from_millis(100));
        (stage.pids(), expected.clone())
    };
    let (pids, expected) = both(false);
    assert_eq!(pids, expected);

    stage.publish("two", &two, &Terms::default());
    let took = until_metric(&mut processor, "known_keys ", 2);
    assert!(took < IN_FORCE, "a new key was in force after {took:?}");
    let (pids, expected) = both(true);
    assert_eq!(pids, expected);

    stage.revoke("two", "2020-01-01T00:00:00Z");
    let took = until_metric(&mut processor, "revoked_keys ", 1);
    assert!(took < IN_FORCE, "a revocation was in force after {took:?}");
    let (pids, expected) = both(false);
    assert_eq!(pids, expected);

    // A broken file keeps its key, and what else changed is taken.
    fs::write(stage.public("one"), "half a k").expect("written");
    fs::remove_file(stage.public("two")).expect("removed");
    let took = until_metric(&mut processor, "known_keys ", 1);
    assert!(took < IN_FORCE, "a key that is gone was forgotten after {took:?}");
    assert_eq!(metric(&processor, "keys_dir_failures_total "), Some(1));
    let (pids, expected) = both(false);
    assert_eq!(pids, expected);
    use DeadLetterReason::{RevokedKey, UnknownKey};
    assert_eq!(stage.reasons(), [UnknownKey, RevokedKey, UnknownKey]);
    assert_eq!(metric(&processor, "keys_dir_reloads_total "), Some(3));
    processor.terminate();
}

/// The log's times decide: who reads the log again believes the same records, whenever the revocation came to be known.
#[test]
fn a_revocation_decides_the_same_when_the_log_is_read_again() {
    let stage = Stage::new(SQL);
    let signer = stage.key("agent", &Terms::default());
    let processor = stage.start("live");
    // Seconds ahead, so that every processor knows of it by then.
    let from_ms = now_ms() + 6_000;
    let mut sent = 0;
    let mut until_ms = |end_ms: i64| {
        while now_ms() < end_ms {
            sent += 1;
            stage.send([envelope("agent", sent, sent as i64, Some(&signer))]);
            thread::sleep(Duration::from_millis(20));
        }
        sent
    };
    until_ms(from_ms - 5_500);
    stage.revoke("agent", &iso(from_ms));
    let sent = until_ms(from_ms + 1_000) as usize;
    until("each was judged", || stage.pids().len() + stage.reasons().len() == sent);
    processor.terminate();
    let (pids, letters) = (stage.pids(), stage.dead_letters());
    assert!(pids.len() > 30 && letters.len() > 10, "{} and {}", pids.len(), letters.len());
    assert!(letters.iter().all(|letter| letter.reason() == DeadLetterReason::RevokedKey));
    let mut times = Vec::new();
    let of = TopicPartition { topic: TELEMETRY.into(), partition: 0 };
    read_records(stage.bus.as_ref(), &of, &mut |record| times.push(record.log_time_ms));
    let before = times.iter().filter(|time_ms| **time_ms < from_ms).count();
    assert_eq!(pids, (1..=before as i64).collect::<Vec<_>>(), "those that the log took before");

    let processor = stage.start("again");
    until("each was judged again", || stage.pids().len() + stage.reasons().len() == 2 * sent);
    processor.terminate();
    assert_eq!(stage.pids(), [pids.clone(), pids].concat());
    let offsets = |letters: &[DeadLetter]| letters.iter().map(|letter| letter.offset).collect::<Vec<_>>();
    let again = stage.dead_letters();
    assert_eq!(offsets(&again[letters.len()..]), offsets(&letters));
}

#[test]
fn the_command_of_the_page_revokes_half_a_minute_ahead() {
    let stage = Stage::new(SQL);
    let signer = stage.key("web-1", &bound_to("web-1"));
    let page = fs::read_to_string("docs/keys.md").expect("the page");
    let line = page.lines().find(|line| line.starts_with("echo \"revoked:")).expect("the command");
    let line = line.replace("/etc/amoskys/public-keys", &stage.path("keys").display().to_string());
    let began_ms = now_ms();
    assert!(Command::new("sh").arg("-c").arg(line).status().expect("there is a shell").success());
    let ring = KeyRing::load(&stage.path("keys")).expect("it reads");
    let sealed = envelope("web-1", 1, 1, Some(&signer)).payload;
    let view = EnvelopeView::parse(&sealed).expect("an envelope");
    // To the second.
    assert_eq!(ring.verify_one(&view, began_ms + 28_900), Ok(()));
    let refusal = ring.verify_one(&view, now_ms() + 30_000).expect_err("revoked");
    assert_eq!(refusal.reason(), DeadLetterReason::RevokedKey);
}

/// `amoskys run` trusts what its agent signed before with another key, where that is in its folder.
#[test]
fn agent_and_processor_in_one_process_trust_keys_from_before() {
    let stage = Stage::new(SQL);
    create(stage.bus.as_ref(), "elsewhere", 1);
    let (old, new) = (stage.key("old", &Terms::default()), stage.path("new.pem"));
    Signer::generate().expect("a key").write_files(&new).expect("written");
    let run = |with_old: bool, records: &[Outgoing]| {
        stage.send(records.to_vec());
        let (port, file) = (free_port(), stage.path("agent.toml"));
        let text = format!(
            "[agent]\nsigning_key = \"{}\"\nwal_path = \"{}\"\nmetrics_port = {port}\nhealth_port = {port}\n\
             [process]\nsource = \"snapshots\"\ntopic = \"elsewhere\"\n[syscall]\nsource = \"off\"\n",
            new.display(),
            stage.path("wal").display()
        );
        fs::write(&file, text).expect("written");
        let (counted, refused) = (stage.pids().len(), stage.reasons().len());
        let mut command = amoskys();
        command.arg("run").arg("--agent").arg(&file).arg("--sql").arg(stage.path("q.sql")).env("AMOSKYS_LOG", "error");
        command.args(["--bus", &stage.server.address().to_string()]);
        if with_old {
            command.arg("--keys-dir").arg(stage.path("keys"));
        }
        let mut running = Running(command.spawn().expect("starts"));
        until("what was sent is judged", || stage.pids().len() + stage.reasons().len() > counted + refused);
        send(&running, Signal::TERM);
        assert_eq!(exit_code(&mut running, "it drains"), Some(0));
    };
    run(true, &[envelope("a", 1, 1, Some(&old))]);
    assert_eq!((stage.pids(), stage.reasons()), (vec![1], vec![]));
    run(false, &[envelope("a", 2, 2, Some(&old))]);
    assert_eq!((stage.pids(), stage.reasons()), (vec![1], vec![DeadLetterReason::UnknownKey]));
}

/// `amoskys keygen`; the private key's path.
fn keygen(stage: &Stage, name: &str) -> PathBuf {
    let path = stage.path("agent").join(name);
    let made = amoskys().arg("keygen").arg(&path).args(["--agent", "web-1", "--host", "web-1"]).output();
    let made = made.expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

struct RunningAgent {
    running: Running,
    port: u16,
    log: PathBuf,
}

impl RunningAgent {
    fn start(stage: &Stage, key: &Path) -> Self {
        let (port, log) = (free_port(), stage.path("agent.log"));
        let text = format!(
            "[agent]\nagent_id = \"web-1\"\nhost_id = \"web-1\"\nsigning_key = \"{}\"\nwal_path = \"{}\"\nbus_address = \"{}\"\n\
             metrics_port = {port}\nhealth_port = {port}\nstatus_interval = \"100ms\"\n[process]\nsource = \"snapshots\"\n\
             [syscall]\nsource = \"off\"\n",
            key.display(),
            stage.path("wal").display(),
            stage.server.address()
        );
        let file = stage.path("agent.toml");
        fs::write(&file, text).expect("written");
        let error = File::create(&log).expect("a file");
        let agent = amoskys().arg("agent").arg("--config").arg(&file).env("AMOSKYS_LOG", "info").stderr(error).spawn();
        let agent = Self { running: Running(agent.expect("starts")), port, log };
        until("the agent runs", || http_get(agent.port, "/readyz").is_some_and(|(ready, _)| ready));
        agent
    }

    fn hang_up(&self) {
        send(&self.running, Signal::HUP);
    }

    fn said(&self, what: &str) -> bool {
        fs::read_to_string(&self.log).expect("UTF-8").contains(what)
    }

    fn terminate(mut self) {
        send(&self.running, Signal::TERM);
        assert_eq!(exit_code(&mut self.running, "the agent drains"), Some(0));
    }
}

/// Sequence and key of each envelope of the agent's status.
fn signed_with(stage: &Stage) -> Vec<(u64, String)> {
    let of = |payload: &Vec<u8>| {
        let header = EnvelopeView::parse(payload).expect("an envelope").header;
        (header.sequence, header.key_id)
    };
    read_all(stage.bus.as_ref(), STATUS, 1).remove(0).iter().map(of).collect()
}

fn id_of(key: &Path) -> String {
    Signer::from_pem_file(key).expect("a key").key_id().to_owned()
}

#[test]
fn an_agent_goes_over_to_another_key_and_nothing_is_lost_or_refused() {
    let stage = Stage::new(SQL_OF_STATUS);
    let (key, next, last) = (keygen(&stage, "agent.pem"), keygen(&stage, "next.pem"), keygen(&stage, "last.pem"));
    let ids = [&key, &next, &last].map(|key| id_of(key));
    let publish = |name: &str| {
        let public = stage.path("agent").join(name).with_extension("pub");
        fs::copy(public, stage.path("keys").join(name).with_extension("pub")).expect("copied");
    };
    publish("agent.pem");
    let mut processor = stage.start("rotating");
    until_metric(&mut processor, "known_keys ", 1);
    let agent = RunningAgent::start(&stage, &key);
    let until_signed = |id: &str| {
        until("envelopes are signed with that key", || {
            signed_with(&stage).iter().filter(|(_, of)| of == id).count() > 2
        });
    };
    until_signed(&ids[0]);

    // The public key first; then the private one takes the other's place and the agent is asked.
    publish("next.pem");
    until_metric(&mut processor, "known_keys ", 2);
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
    };
    mode(&next, 0o644);
    fs::rename(&next, &key).expect("renamed");
    agent.hang_up();
    until("a key that others may read is refused", || agent.said("chmod 600"));
    assert!(agent.said("goes on signing with the key that it had"));
    let before = signed_with(&stage).len();
    until("it goes on", || signed_with(&stage).len() > before + 2);
    assert!(signed_with(&stage).iter().all(|(_, id)| *id == ids[0]));
    mode(&key, 0o600);
    agent.hang_up();
    until_signed(&ids[1]);
    assert!(agent.said(&ids[1]), "it says with which");
    agent.terminate();

    // And by a restart.
    publish("last.pem");
    until_metric(&mut processor, "known_keys ", 3);
    let agent = RunningAgent::start(&stage, &last);
    until_signed(&ids[2]);
    agent.terminate();

    let signed = signed_with(&stage);
    let sequences: Vec<i64> = signed.iter().map(|(sequence, _)| *sequence as i64).collect();
    until("each was judged", || stage.rows().len() + stage.reasons().len() >= signed.len());
    let counted: Vec<i64> = stage.rows().iter().map(|row| row["sequence"].as_i64().expect("a number")).collect();
    assert_eq!((counted, stage.reasons()), (sequences, vec![]));
    let mut keys: Vec<&String> = signed.iter().map(|(_, id)| id).collect();
    keys.dedup();
    assert_eq!(keys, ids.iter().collect::<Vec<_>>(), "one key after the other");
    processor.terminate();
}
