"""That nothing is lost unseen, from the kernel's counter to the broker's records, over a long run.

An agent sees the calls and processes of a load while its broker (a Kafka, started here) is killed and started again, and stands still. Each
second its metrics are read, and must add up to the unit: what the kernel counted = what was seen + what is in the ring; and for each stream what
was seen = filtered + dropped + in hand + in the write-ahead log + acknowledged. At the end the agent is stopped, and the rows of the topics are
counted: as many as were acknowledged, and of the load's calls as many as the load says that it made, less those that were counted as dropped.
Deliberately not here: kills of the agent (`make chaos`). Limits: as root, on a machine where no other agent runs.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

KAFKA = pathlib.Path(__file__).resolve().parent.parent / "dev" / "kafka" / "run"
TOPICS = {"process": "amoskys.telemetry.process.v1", "syscall": "amoskys.telemetry.syscall.v1"}
GONE = ("filtered_events_total", "dropped_events_total", "in_hand_events", "wal_events", "acknowledged_events_total")
# Kinds of load, how often a second (0: as often as can be, which is more than the ring takes), and for how many seconds.
LOADS = [("exec", 200, 10), ("chmod", 5_000, 10), ("exec", 1_000, 10), ("chmod", 20_000, 10), ("getpid", 1_000_000, 10), ("chmod", 0, 1)]
DRAIN_SECONDS_MAX = 180


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


class Broker:
    """A Kafka that can be killed, and is the same when it is started again."""

    def __init__(self, data):
        self.data, self.kills = data, 0
        self.start()

    def start(self):
        command = [KAFKA, "--data", self.data, "--fast-start"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise SystemExit("error: Kafka did not start; what it said is above")

    def pid(self):
        return int((self.data / "broker.pid").read_text())

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Agent:
    def __init__(self, program, folder, bus):
        self.program, self.port, self.log = program, free_port(), folder / "agent.log"
        key, config = folder / "agent.pem", folder / "agent.toml"
        subprocess.run([program, "keygen", key], check=True, stdout=subprocess.DEVNULL)
        config.write_text(
            f'[agent]\nsigning_key = "{key}"\nwal_path = "{folder / "wal"}"\nmetrics_port = {self.port}\nhealth_port = {self.port}\n'
            '[process]\nsource = "ebpf"\n[syscall]\nsource = "ebpf"\ncalls = ["chmod", "execve"]\ncomms = ["load"]\nprocess_rate_max = 0\n'
        )
        command = [program, "agent", "--config", config, "--bus", bus, "--create-topics", "1"]
        self.process = subprocess.Popen(command, stderr=self.log.open("w"))
        deadline = time.monotonic() + 60
        while self.samples() is None:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"error: the agent does not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def samples(self):
        """All samples of one scrape: name, labels, value."""
        with contextlib.suppress(OSError):
            text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10).read().decode()
            lines = (line for line in text.splitlines() if line.startswith("amoskys_agent_"))
            return [(*parted(name.removeprefix("amoskys_agent_")), float(value)) for name, value in (line.rsplit(" ", 1) for line in lines)]
        return None

    def stop(self):
        """Waits for all to be acknowledged first."""
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while time.monotonic() < deadline:
            left = [value for name, _, value in self.samples() or [] if name in ("in_hand_events", "wal_events", "ring_calls", "ring_changes")]
            if left and sum(left) == 0:
                break
            time.sleep(0.2)
        last = self.samples()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        lines = [line for line in self.log.read_text().splitlines() if "agent stopped" in line]
        return last, lines[-1] if lines else ""


def parted(name):
    name, _, labels = name.partition("{")
    return name, dict(label.split("=", 1) for label in labels.rstrip("}").replace('"', "").split(",") if label)


def total(samples, *names, **labels):
    return round(sum(value for name, has, value in samples if name in names and labels.items() <= has.items()))


def differences(samples):
    """What does not add up, in words."""
    seen_calls = total(samples, "seen_events_total", origin="kernel") + total(samples, "ring_calls")
    seen_changes = total(samples, "seen_events_total", origin="tracepoint") + total(samples, "ring_changes")
    came = total(samples, "seen_events_total", "recovered_events_total")
    sums = [
        ("calls: the kernel's counter; seen and in the ring", total(samples, "kernel_seen_calls_total"), seen_calls),
        ("changes of processes: the kernel's counter; seen and in the ring", total(samples, "kernel_seen_changes_total"), seen_changes),
        ("events: seen and recovered; where they are", came, total(samples, *GONE)),
        ("events that the ledger cannot place; none", total(samples, "unaccounted_events"), 0),
    ]
    return [f"{what}: {left:,} and {right:,}" for what, left, right in sums if left != right]


class Load(threading.Thread):
    """Makes calls until it is told to end, and adds up what it made."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.made, self.ended = load, {}, threading.Event()

    def run(self):
        turn = 0
        while not self.ended.is_set():
            kind, rate, seconds = LOADS[turn % len(LOADS)]
            turn += 1
            command = [self.load, kind, str(rate), str(seconds)]
            words = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            self.made[kind] = self.made.get(kind, 0) + int(words[0])


def rows(program, bus, topic, folder):
    """What an export of all of a topic says of it, how many rows there are above all."""
    output = folder / "rows.parquet"
    command = [program, "-q", "topics", "export", "--bus", bus, "--output", output, "--force", "--format", "json", topic]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    output.unlink()
    return told


def trouble(broker, minutes_between, ended):
    """Kills the broker and starts it again, or lets it stand still, at random moments."""
    while not ended.wait(random.uniform(0.5, 1.5) * minutes_between * 60):
        if random.random() < 0.5:
            broker.kill()
            ended.wait(random.uniform(1, 20))
            broker.start()
        else:
            pid = broker.pid()
            os.kill(pid, signal.SIGSTOP)
            ended.wait(random.uniform(1, 20))
            os.kill(pid, signal.SIGCONT)


def run(options, folder):
    broker = Broker(folder / "kafka")
    agent = Agent(options.program, folder, broker.address)
    load, ended = Load(options.load), threading.Event()
    troubles = threading.Thread(target=trouble, args=(broker, options.minutes_between, ended), daemon=True)
    load.start()
    troubles.start()
    began, scrapes, wrong = time.monotonic(), 0, []
    while time.monotonic() < began + options.minutes * 60:
        time.sleep(1)
        samples = agent.samples()
        if samples is None:
            wrong.append("the agent does not answer")
            break
        scrapes += 1
        wrong += [f"after {time.monotonic() - began:.0f} s: {difference}" for difference in differences(samples)]
        if scrapes % 60 == 0:
            acknowledged, dropped = (total(samples, f"{what}_events_total") for what in ("acknowledged", "dropped"))
            print(f"{scrapes} scrapes, {len(wrong)} differences, {acknowledged:,} acknowledged, {dropped:,} dropped and counted, "
                  f"broker killed {broker.kills} times", file=sys.stderr)
    load.ended.set()
    ended.set()
    load.join()
    troubles.join()
    last, stopped = agent.stop()
    wrong += [f"at the end: {difference}" for difference in differences(last)]
    account = {
        "minutes": options.minutes,
        "scrapes": scrapes,
        "broker_kills": broker.kills,
        "made": load.made,
        "kernel_calls": total(last, "kernel_seen_calls_total"),
        "kernel_changes": total(last, "kernel_seen_changes_total"),
        **{what: total(last, name) for what, name in [("seen", "seen_events_total"), ("filtered", "filtered_events_total"),
                                                      ("in_hand", "in_hand_events"), ("in_wal", "wal_events"), ("acknowledged", "acknowledged_events_total")]},
        "dropped": {f"{labels['stream']} {labels['reason']}": round(value) for name, labels, value in last if name == "dropped_events_total" and value},
        "stopped": stopped,
    }
    for stream, topic in TOPICS.items():
        found = rows(options.program, broker.address, topic, folder)
        account[f"{stream}_export"] = found
        acknowledged = total(last, "acknowledged_events_total", stream=stream)
        account[f"{stream}_acknowledged"] = acknowledged
        # The process events of the agent's own end come after the last scrape.
        if stream == "syscall" and found.get("rows") != acknowledged:
            wrong.append(f"{topic}: {found.get('rows')} rows, {acknowledged:,} acknowledged")
    made = load.made.get("chmod", 0) + load.made.get("exec", 0)
    told = total(last, "acknowledged_events_total", stream="syscall") + total(last, "dropped_events_total", stream="syscall")
    if made != told:
        wrong.append(f"calls that the load made and that are acknowledged or counted as dropped: {made:,} and {told:,}")
    broker.stop()
    return account, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the amoskys binary")
    parser.add_argument("--load", required=True, help="the load, compiled")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--minutes-between", type=float, default=2, help="from one trouble of the broker's to the next, on the average")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("error: takes root: the agent loads programs into the kernel")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="amoskys-completeness-"))
    try:
        account, wrong = run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(account, indent=1))
    for difference in wrong[:20]:
        print(f"error: {difference}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
