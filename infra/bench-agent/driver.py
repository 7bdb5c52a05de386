"""What it costs to see system calls: Amoskys' agent, auditd and bpftrace beside one another, one after the other.

A load makes calls of one kind at a rate; an observer looks on. Told: nanoseconds that a call takes the load (the observer's part of
the kernel is in there), CPU of the observer's processes in percent of one core, the memory they had at its end, and how many of the
calls they wrote down. The agent's broker (Kafka, started here) is not a part of it. Of audit the kernel's own thread (kauditd) counts too. All observers look at the same call (chmod) or at
execs; of the mix, which is as a busy host's programs make calls, a tenth is that call; Amoskys' default policy looks at more. Deliberately not here: whether what is written is right (the tests).
Limits: as root, on a machine where nothing else runs; a second agent or auditd on the host is refused.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

KAFKA = pathlib.Path(__file__).resolve().parent.parent / "dev" / "kafka" / "run"
# Of calls of the mix, those that observers look at: load.c.
MIX_ASKED_ONE_OF = 10
TRACEFS = pathlib.Path("/sys/kernel/tracing")
# Until an observer has looked at what was there when it began.
SETTLE_SECONDS = 4
AUDITD_CONF = """local_events = yes
write_logs = yes
log_file = {log}
log_format = RAW
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 2000
num_logs = 2
max_log_file_action = IGNORE
space_left = 2
space_left_action = IGNORE
admin_space_left = 1
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
q_depth = 20000
plugin_dir = {plugins}
"""
BPFTRACE = {
    "chmod": 'tracepoint:syscalls:sys_enter_chmod {{ @path[tid] = args->filename; }} tracepoint:syscalls:sys_exit_chmod /@path[tid]/ '
    '{{ printf("%d %s %s %d\\n", pid, comm, str(@path[tid]), args->ret); delete(@path[tid]); }}',
    "exec": 'tracepoint:syscalls:sys_enter_execve {{ printf("%d %s ", pid, str(args->filename)); join(args->argv); }}',
}


def cpu_ns(pids):
    """That the threads of these processes had, to the nanosecond; of one that ended meanwhile it is missing."""
    had = 0
    for task in (task for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            had += int((task / "schedstat").read_text().split()[0])
    return had


def memory_mib(pid):
    """Now: its share of what it has resident (Pss), so that a page that is mapped twice, as a ring's are, counts once."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def kernel_threads(name):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == name:
                found.append(path.parent.name)
    return found


class Observer:
    """Nobody: what a call costs by itself."""

    name = "nobody"

    def __init__(self, kind, folder):
        self.kind, self.folder, self.process = kind, folder, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def pids(self):
        return [self.process.pid] if self.process else []

    def written(self):
        return None


class Agent(Observer):
    """Amoskys' agent: signing, write-ahead log, Kafka as the broker."""

    settings = ""
    audit_rule = False

    def __enter__(self):
        key = self.folder / "agent.pem"
        subprocess.run([self.program, "keygen", key], check=True, stdout=subprocess.DEVNULL)
        self.port = free_port()
        config = self.folder / "agent.toml"
        config.write_text(
            f'[agent]\nsigning_key = "{key}"\nwal_path = "{self.folder / "wal"}"\nmetrics_port = {self.port}\nhealth_port = {self.port}\n'
            + (self.settings or '[syscall]\nsource = "ebpf"\n')
        )
        if self.audit_rule:
            audit_rule("-a", self.kind)
        command = [self.program, "-q", "agent", "--config", config, "--bus", self.bus, "--create-topics", "1"]
        self.process = subprocess.Popen(command)
        wait_for(lambda: self.page("readyz") is not None, "the agent is not ready")
        self.before = self.seen()
        return self

    def __exit__(self, *ended):
        super().__exit__(*ended)
        if self.audit_rule:
            audit_rule("-d", self.kind)

    def page(self, name):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=5).read().decode()
        return None

    def seen(self):
        """System calls that are in the log or on their way there."""
        places = ("acknowledged_events_total", "wal_events", "in_hand_events")
        lines = [line for line in self.page("metrics").splitlines() if 'stream="syscall"' in line]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].removeprefix("amoskys_agent_") in places)

    def written(self):
        return self.seen() - self.before


class AgentDefault(Agent):
    name = "amoskys, default policy"


class AgentNoLimit(Agent):
    name = "amoskys, no limit for a process"
    settings = '[syscall]\nsource = "ebpf"\nprocess_rate_max = 0\n'


class AgentFiltered(Agent):
    name = "amoskys, all filtered in the kernel"
    settings = '[syscall]\nsource = "ebpf"\ncomms = ["!load"]\n'


class AgentAudit(Agent):
    name = "amoskys, audit by netlink"
    settings = '[syscall]\nsource = "audit"\naudit_log = "netlink"\nprocess_rate_max = 0\n'
    audit_rule = True

    def pids(self):
        return super().pids() + kernel_threads("kauditd")


class Auditd(Observer):
    name = "auditd"

    def __enter__(self):
        conf, self.log = self.folder / "conf", self.folder / "audit.log"
        (conf / "plugins.d").mkdir(parents=True)
        (conf / "auditd.conf").write_text(AUDITD_CONF.format(log=self.log, plugins=conf / "plugins.d"))
        for path in [conf, conf / "auditd.conf", conf / "plugins.d"]:
            path.chmod(0o750 if path.is_dir() else 0o640)
        self.process = subprocess.Popen(["auditd", "-n", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.log.exists() and self.log.stat().st_size > 0, "auditd writes no log")
        subprocess.run(["auditctl", "-q", "-b", "65536"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        audit_rule("-a", self.kind)
        return self

    def __exit__(self, *ended):
        audit_rule("-d", self.kind)
        super().__exit__(*ended)

    def pids(self):
        return super().pids() + kernel_threads("kauditd")

    def written(self):
        number = {"chmod": "90", "exec": "59"}[self.kind]
        return sum(f" syscall={number} " in line for line in self.log.open(errors="replace") if line.startswith("type=SYSCALL"))


class Bpftrace(Observer):
    name = "bpftrace"

    def __enter__(self):
        self.out, self.mounted = self.folder / "out", not TRACEFS.joinpath("events").exists()
        if self.mounted:
            subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS], check=True)
        script = BPFTRACE[self.kind].format()
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(["bpftrace", "-e", script], stdout=out, stderr=subprocess.STDOUT)
        wait_for(lambda: b"Attaching" in self.out.read_bytes(), "bpftrace does not attach")
        time.sleep(2)
        return self

    def __exit__(self, *ended):
        super().__exit__(*ended)
        if self.mounted:
            subprocess.run(["umount", TRACEFS], check=False)

    def written(self):
        return sum(b"bench" in line or b"/bin/true" in line for line in self.out.open("rb"))


OBSERVERS = [Observer, AgentDefault, AgentNoLimit, AgentFiltered, AgentAudit, Auditd, Bpftrace]


def audit_rule(how, kind):
    call = {"chmod": "chmod", "exec": "execve"}[kind]
    rule = ["auditctl", how, "always,exit", "-F", "arch=b64", "-S", call, "-k", "amoskys-bench"]
    subprocess.run(rule, check=how == "-a", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if how == "-a":
        subprocess.run(["auditctl", "-e", "1"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port():
    import socket

    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def wait_for(is_so, otherwise):
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"error: {otherwise}")
        time.sleep(0.1)


@contextlib.contextmanager
def broker():
    """The address of a Kafka of its own."""
    print("starting Kafka", file=sys.stderr)
    kafka = subprocess.Popen([KAFKA], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = kafka.stdout.readline().strip()
        if not address:
            raise SystemExit("error: Kafka did not start; what it said is above")
        yield address
    finally:
        kafka.stdin.close()
        kafka.wait()


def measure(observer_of, kind, rate, seconds, load):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="amoskys-bench-agent-"))
    try:
        with observer_of(kind if kind == "exec" else "chmod", folder) as observer:
            time.sleep(SETTLE_SECONDS)
            pids = observer.pids()
            before, began = cpu_ns(pids), time.monotonic()
            words = subprocess.run([load, kind, str(rate), str(seconds)], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            calls, load_cpu_ns, load_wall_ns = map(int, words)
            time.sleep(0.5)
            had_ns, took = cpu_ns(pids) - before, time.monotonic() - began
            memory = memory_mib(pids[0]) if pids else 0.0
            written = observer.written()
            return {
                "observer": observer.name,
                "kind": kind,
                "asked_calls_per_second": rate,
                "calls": calls,
                "calls_per_second": round(calls / (load_wall_ns / 1e9)),
                "load_ns_per_call": round(load_cpu_ns / calls, 1),
                "observer_cpu_percent": round(100 * had_ns / 1e9 / took, 2),
                "observer_memory_mib": round(memory, 1),
                "written": written,
                "seconds": round(took, 2),
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(rows):
    lines = ["| load | observer | ns per call | more than nobody | observer's CPU | memory | written |", "|---|---|---|---|---|---|---|"]
    alone = {(row["kind"], row["asked_calls_per_second"]): row["load_ns_per_call"] for row in rows if row["observer"] == Observer.name}
    for row in rows:
        key = (row["kind"], row["asked_calls_per_second"])
        more = row["load_ns_per_call"] - alone[key] if key in alone and row["observer"] != Observer.name else None
        asked_for = row["calls"] // MIX_ASKED_ONE_OF if row["kind"] == "mix" else row["calls"]
        written = "" if row["written"] is None else f"{row['written']:,} of {asked_for:,}"
        rate = f"{row['calls_per_second']:,}/s"
        lines.append(
            f"| {row['kind']} {rate} | {row['observer']} | {row['load_ns_per_call']:,.0f} | {'' if more is None else f'{more:+,.0f}'} "
            f"| {row['observer_cpu_percent']:.2f} % | {row['observer_memory_mib']:.0f} MiB | {written} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the amoskys binary")
    parser.add_argument("--load", required=True, help="the load, compiled")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--only", help="observers whose name holds this, and nobody")
    parser.add_argument("--rates", default="10000,100000,1000000", help="chmods per second; 0: as many as can be")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("error: takes root: observers load programs into the kernel and read its audit")
    if running := subprocess.run(["pgrep", "-x", "auditd"], stdout=subprocess.PIPE, text=True).stdout.split():
        raise SystemExit(f"error: auditd runs already (pid {' '.join(running)}); it would take what is measured")
    Agent.program = options.program
    with broker() as Agent.bus:
        rows = measure_all(options)
    print(json.dumps(rows, indent=1) if options.format == "json" else table(rows))


def measure_all(options):
    rates = [int(rate) for rate in options.rates.split(",")]
    loads = [("getpid", 1_000_000), ("mix", 1_000_000), *[("chmod", rate) for rate in rates], ("exec", 1000)]
    rows = []
    for kind, rate in loads:
        for observer in OBSERVERS:
            if options.only and observer is not Observer and options.only not in observer.name:
                continue
            print(f"{kind} {rate}/s, seen by {observer.name}", file=sys.stderr)
            rows.append(measure(observer, kind, rate, options.seconds, options.load))
    return rows


if __name__ == "__main__":
    main()
