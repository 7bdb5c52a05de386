//! What must not leave the host does not: secrets on command lines, and the environment. Against the real kernel; needs
//! root on the host.

mod support;

use amoskys_collectors::{List, ProcessMode, SyscallMode, masks::Masks, sources::syscall::choose};
use amoskys_ebpf::{Filters, testing::probe};
use amoskys_proto::{
    EnvelopeView,
    v1::{ProcessEventKind as Kind, SyscallBatch},
};
use prost::Message;
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::*;
use tempfile::TempDir;

const SECRET: &str = "hunter2-f3a91c";

/// A shell that waits, with arguments and variables that mean nothing to it.
struct Waiting(Child);

impl Waiting {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line", "name"]).args(arguments).envs(variables.iter().copied());
        Self(command.stdin(Stdio::piped()).spawn().expect("there is a shell"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether it is anywhere in what left the agent, whatever the field.
fn left(bus: &FakeBus, secret: &str) -> bool {
    let log = bus.log();
    log.iter().any(|record| record.payload.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

by_each_source! {
    fn secrets_on_command_lines_are_masked_in_every_event_of_a_life(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let address = format!("https://ann:{SECRET}@example.org/");
        let mut shell = Waiting::start(&["--password", SECRET, &address], &[]);
        let exec = bus.wait_for_kind(shell.0.id(), Kind::Exec);
        assert_eq!(exec.cmdline, "/bin/sh -c read line name --password *** https://ann:***@example.org/");
        assert_eq!(exec.masked, ["cmdline"]);
        drop(shell.0.stdin.take());
        let exit = bus.wait_for_kind(shell.0.id(), Kind::Exit);
        assert_eq!((exit.cmdline, exit.masked), (exec.cmdline, exec.masked));
        assert!(agent.numbers().masked_events >= 2);
        assert!(!left(&bus, SECRET));
    }

    fn patterns_of_the_operators_own_take_the_place_of_the_usual(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.masks = Masks::of(&["--employee=([0-9]+)".to_owned()]).expect("a pattern");
        let (_agent, _) = start_listening(config, &bus);
        let shell = Waiting::start(&["--employee=4711", "--password=x"], &[]);
        let exec = bus.wait_for_kind(shell.0.id(), Kind::Exec);
        assert_eq!(exec.cmdline, "/bin/sh -c read line name --employee=*** --password=x");
    }

    /// A command line that is cut within a secret.
    fn a_secret_at_the_end_of_what_is_kept_is_masked_too(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.cmdline_bytes_max = 64;
        let (_agent, _) = start_listening(config, &bus);
        let address = format!("postgres://application:{SECRET}@db/orders");
        let shell = Waiting::start(&["12345678", &address], &[]);
        let exec = bus.wait_for_kind(shell.0.id(), Kind::Exec);
        assert_eq!(exec.cmdline, "/bin/sh -c read line name 12345678 postgres://application:***@db");
        assert!(!left(&bus, &SECRET[..7]));
    }

    fn of_the_environment_only_what_is_named_leaves(source) {
        let variables = [("AMOSKYS_NAMED", "/x.so"), ("AMOSKYS_PROXY", "http://a:b-6bd1@proxy"), ("AMOSKYS_OTHER", SECRET)];
        for names in [&[][..], &["AMOSKYS_NAMED", "AMOSKYS_PROXY", "AMOSKYS_ABSENT"]] {
            let folder = TempDir::new().expect("a folder");
            let bus = FakeBus::new(Mode::Take);
            let mut config = listening_config(folder.path(), source);
            config.process.environment = names.iter().map(|name| (*name).to_owned()).collect();
            let (_agent, _) = start_listening(config, &bus);
            let shell = Waiting::start(&[], &variables);
            let exec = bus.wait_for_kind(shell.0.id(), Kind::Exec);
            let got: Vec<(&str, &str)> =
                exec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if names.is_empty() {
                assert_eq!((got, exec.masked.len()), (vec![], 0));
            } else {
                assert_eq!(got, [("AMOSKYS_NAMED", "/x.so"), ("AMOSKYS_PROXY", "http://a:***@proxy")]);
                assert_eq!(exec.masked, ["environment"]);
                assert!(!exec.unreadable.contains(&"environ".to_owned()), "{:?}", exec.unreadable);
            }
            drop(shell);
            bus.wait_for_kind(exec.pid, Kind::Exit);
            assert!(!left(&bus, SECRET) && !left(&bus, "AMOSKYS_OTHER") && !left(&bus, "b-6bd1"), "{names:?}");
            assert_eq!(left(&bus, "AMOSKYS_NAMED"), !names.is_empty());
        }
    }

    fn arguments_that_system_calls_start_programs_with_are_masked(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        if probe(&[], &Filters::default(), 1 << 12).is_none() {
            return;
        }
        let mut config = listening_config(folder.path(), source);
        config.syscall.source = SyscallMode::Ebpf;
        config.syscall.calls = choose(&["execve".to_owned()]).expect("a call");
        config.syscall.of.trees = List::Only(vec![std::process::id()]);
        let topic = config.syscall_topic.clone();
        let (agent, registry) = start_listening(config, &bus);
        let _shell = Waiting::start(&["--token", SECRET, "x"], &[]);
        let mut argv = Vec::new();
        wait_until("the call", || {
            let log = bus.log();
            let payloads = log.iter().filter(|record| record.topic == topic).map(|record| &record.payload);
            let batches = payloads.map(|payload| {
                let view = EnvelopeView::parse(payload).expect("an envelope");
                SyscallBatch::decode(view.payload).expect("system calls").events
            });
            let found = batches.flatten().find(|event| event.argv.iter().any(|of| of == "--token"));
            argv = found.into_iter().map(|event| (event.argv, event.masked)).collect();
            !argv.is_empty()
        });
        let wanted = ["/bin/sh", "-c", "read line", "name", "--token", "***", "x"].map(str::to_owned).to_vec();
        assert_eq!(argv, [(wanted, vec!["argv".to_owned()])]);
        assert!(!left(&bus, SECRET));
        agent.stop(Duration::from_secs(30));
        agent.join();
        assert!(sample(&scrape(&registry), "amoskys_agent_masked_events_total") >= 2.0);
        assert_identity(&scrape(&registry));
    }
}
