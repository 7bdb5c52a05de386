//! What looking at system calls costs each of them, and what taking the rows of those that are counted costs the agent.
//!
//! Run: `cargo bench -p amoskys-ebpf --bench activity -- [CALLS]` as root. A program of ours makes the cheapest call there is (getppid),
//! ten times CALLS of them, and tells the best ten's CPU time for a call: with nothing in the kernel, with the programs that choose calls
//! (none of which is this), with those that count all calls, and with both; in turns, three of each. Then processes are left to be
//! counted, and their rows are taken. Other work on the host makes times longer, not shorter, so the least of the turns counts.

use amoskys_ebpf::{
    Activity, Filters, KernelTypes, Probe, ProbeError, Rule, SeenAt,
    testing::{Stopped, compile},
};
use std::{path::Path, time::Instant};

type Failure = Box<dyn std::error::Error>;

const TURNS: usize = 3;
const ROWS: u32 = 65_536;
const PROCESSES: &str = "2000";

fn main() -> Result<(), Failure> {
    let calls = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_else(|| "1000000".into());
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("activity");
    compile(Path::new("tests/activity.c"), &program);
    let cases: [(&str, bool, bool); 4] = [
        ("nothing", false, false),
        ("choosing calls", true, false),
        ("counting all calls", false, true),
        ("both", true, true),
    ];
    let mut best_ns = [f64::MAX; 4];
    for _ in 0..TURNS {
        for ((_, chooses, counts), best) in cases.iter().zip(&mut best_ns) {
            let stopped = Stopped::start(&program, &["time", &calls]);
            let _probe = chooses.then(choosing).transpose()?;
            let _activity = counts.then(|| Activity::load(&KernelTypes::for_loads(1), ROWS)).transpose()?;
            let took: f64 = stopped.go().first().ok_or("it prints a time")?.parse()?;
            *best = best.min(took);
        }
    }
    println!("{:<20} {:>11} {:>11}", "in the kernel", "ns per call", "ns more");
    for ((name, ..), ns) in cases.iter().zip(best_ns) {
        println!("{name:<20} {ns:>11.1} {:>11.1}", ns - best_ns[0]);
    }
    taking(&program)
}

/// As an agent has it that looks at the usual calls: getppid is none of them.
fn choosing() -> Result<Probe, ProbeError> {
    let rule = Rule { number: 59, first_string: Some(0), is_exec: true, ..Rule::default() };
    Probe::load(&KernelTypes::for_loads(1), SeenAt::Tracepoints, &[rule], &[rule], &Filters::default(), 1 << 22)
}

fn taking(program: &Path) -> Result<(), Failure> {
    let stopped = Stopped::start(program, &["short", PROCESSES]);
    let mut activity = Activity::load(&KernelTypes::for_loads(1), ROWS)?;
    // Of the others that run: what this takes is nearly all waiting, during which no processor is used.
    take(&mut activity)?;
    stopped.go();
    take(&mut activity)
}

fn take(activity: &mut Activity) -> Result<(), Failure> {
    let (mut rows, mut calls) = (0u32, 0);
    let begun = Instant::now();
    activity.take(&mut |row| {
        rows += 1;
        calls += row.calls();
    })?;
    let took = begun.elapsed();
    println!("{rows} rows of {calls} calls taken in {took:.1?}");
    Ok(())
}
