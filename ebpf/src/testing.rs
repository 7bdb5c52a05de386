//! Programs of tests whose system calls are looked at, in this crate and others (feature `testing`). No use in a running system.
//!
//! A [`Stopped`] program has stopped itself (`raise(SIGSTOP)`), so that it is looked at before it does anything; it is ended with
//! the value, if it was not let go.

use crate::{Activity, Filters, KernelTypes, Probe, ProbeError, Processes, Rule, SeenAt};
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Compiles a program of one file in C.
///
/// # Panics
/// Without a C compiler, and where the program is wrong.
pub fn compile(source: &Path, program: &Path) {
    let compiled = Command::new("cc").args(["-O1", "-Wall", "-pthread", "-o"]).args([program, source]).status();
    assert!(compiled.expect("a C compiler").success());
}

/// `None` where the kernel's programs may not be loaded, which is told.
///
/// # Panics
/// On any other error.
pub fn probe(rules: &[Rule], filters: &Filters, ring_bytes: u32) -> Option<Probe> {
    probe_at(SeenAt::Best, rules, rules, filters, ring_bytes)
}

/// `None` where the kernel's programs may not be loaded, which is told.
///
/// # Panics
/// On any other error.
pub fn probe_at(at: SeenAt, possible: &[Rule], rules: &[Rule], filters: &Filters, ring_bytes: u32) -> Option<Probe> {
    loaded(Probe::load(&KernelTypes::for_loads(1), at, possible, rules, filters, ring_bytes))
}

/// Each test twice: calls are seen in their functions, where the kernel has them, and at the tracepoints of all calls.
#[macro_export]
macro_rules! at_each_place {
    ($($(#[doc = $doc:literal])* fn $name:ident($at:ident) $body:block)*) => {$(
        $(#[doc = $doc])*
        mod $name {
            use super::*;

            fn body($at: $crate::SeenAt) $body

            #[test]
            fn in_functions() {
                body($crate::SeenAt::Best);
            }

            #[test]
            fn at_tracepoints() {
                body($crate::SeenAt::Tracepoints);
            }
        }
    )*};
}

/// `None` where the kernel's programs may not be loaded, which is told.
///
/// # Panics
/// On any other error.
pub fn activity(rows_max: u32) -> Option<Activity> {
    loaded(Activity::load(&KernelTypes::for_loads(1), rows_max))
}

/// `None` where the kernel's programs may not be loaded, which is told.
///
/// # Panics
/// On any other error.
pub fn processes() -> Option<Processes> {
    loaded(Processes::load(&KernelTypes::for_loads(1), 1 << 20, 4_096, 256))
}

fn loaded<T>(result: Result<T, ProbeError>) -> Option<T> {
    match result {
        Ok(loaded) => Some(loaded),
        Err(error @ (ProbeError::Capability { .. } | ProbeError::NoBtf)) => {
            // Not by eprintln!, which is shown of failed tests alone.
            let _ = writeln!(std::io::stderr(), "SKIPPED: system calls cannot be looked at here: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A program that has stopped itself, before it does anything.
pub struct Stopped(Option<Child>);

impl Stopped {
    /// # Panics
    /// When it cannot be started, or does not stop within a minute.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().expect("starts");
        let stopped = Self(Some(child));
        let begun = Instant::now();
        while !stopped.stat().contains(") T ") {
            assert!(begun.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
        stopped
    }

    /// # Panics
    /// Never: it is there until it is let go.
    pub fn pid(&self) -> u32 {
        self.0.as_ref().expect("not let go").id()
    }

    /// Its line in `/proc`.
    ///
    /// # Panics
    /// Where `/proc` is not to be had.
    pub fn stat(&self) -> String {
        let path = Path::new("/proc").join(self.pid().to_string()).join("stat");
        std::fs::read_to_string(path).expect("it is there")
    }

    /// Until it ends: the lines that it printed.
    ///
    /// # Panics
    /// When it prints no text.
    pub fn go(mut self) -> Vec<String> {
        let sent = Command::new("kill").args(["-CONT", &self.pid().to_string()]).status();
        assert!(sent.expect("kill").success());
        let output = self.0.take().expect("not let go").wait_with_output().expect("ends");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
