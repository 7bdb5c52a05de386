//! What processes on this machine take, by the kernel's count: for benchmarks that drive a broker of their own.

use rustix::time::{ClockId, clock_gettime};
use std::{fs, time::Instant};

/// Where the clocks stand.
#[derive(Clone, Copy)]
pub struct Moment {
    pub wall: Instant,
    pub cpu_s: f64,
    pub broker_cpu_s: f64,
    pub machine_cpu_s: f64,
    /// Done by then.
    pub events: u64,
}

impl Moment {
    /// `broker` is the broker's process id.
    pub fn now(broker: u32, events: u64) -> Self {
        let broker_cpu_s = cpu_s(broker);
        Self { wall: Instant::now(), cpu_s: own_cpu_s(), broker_cpu_s, machine_cpu_s: machine_cpu_s(), events }
    }

    /// Columns of a table: events per second, CPU-seconds per million events, the broker's, and how many cores others
    /// than both kept busy.
    pub fn row_until(&self, to: &Moment) -> String {
        let millions = (to.events - self.events) as f64 / 1e6;
        let (seconds, own) = ((to.wall - self.wall).as_secs_f64(), to.cpu_s - self.cpu_s);
        let brokers = to.broker_cpu_s - self.broker_cpu_s;
        let elsewhere = (to.machine_cpu_s - self.machine_cpu_s - own - brokers).max(0.0);
        let (rate, own, brokers) = (millions / seconds, own / millions, brokers / millions);
        format!("{rate:.2} M | {own:.3} | {brokers:.3} | {:.1}", elsewhere / seconds)
    }
}

fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The `java` that descends from this process.
pub fn broker_process() -> u32 {
    let processes =
        fs::read_dir("/proc").expect("Linux").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let descends = |mut pid: u32| {
        while pid > 1 && pid != std::process::id() {
            pid = stat(pid).and_then(|fields| fields[1].parse().ok()).unwrap_or(0);
        }
        pid > 1
    };
    let is_java = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "java");
    let mut found = processes.filter(|&pid: &u32| is_java(pid) && descends(pid));
    found.next().expect("the broker's process")
}

/// What follows the name in `/proc/PID/stat`: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// User and system time of a process, in the kernel's ticks of 10 ms.
fn cpu_s(pid: u32) -> f64 {
    let fields = stat(pid).expect("the broker runs");
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// Time that all cores have worked, for whomever, in ticks of 10 ms.
fn machine_cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("Linux");
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, …
    (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / 100.0
}
