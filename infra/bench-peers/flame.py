#!/usr/bin/env python3
"""Records where a worker's CPU goes while it drains a topic of Kafka, and draws flame graphs.

Started by ./flame, which installs and builds what this needs. Starts a broker of its own, writes the events to it once in
envelopes and once one per record, lets a worker drain each under perf, and writes an SVG for each. Only the draining
process is recorded, from its start to its end: planning and joining take some hundredths of it.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

from driver import BENCH_FOLDER, ROOT, kafka
from measure import say
from queries import ENVELOPES_TOPIC, EVENTS_TOPIC, QUERIES, amoskys_sql

# Samples per second of CPU; no divisor of anything that happens by the clock.
FREQUENCY_HZ = 997
# Functions keep no frame pointers, so this much of the stack is kept with each sample and unwound later.
STACK_BYTES = 16384
# What takes less is not drawn, per cent.
WIDTH_MIN = 0.15


def arguments():
    parser = argparse.ArgumentParser(prog="infra/bench-peers/flame", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--events", type=float, default=8, metavar="MILLIONS", help="default 8")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks", metavar="FOLDER",
                        help="default docs/benchmarks")
    parser.add_argument("--peers", help=argparse.SUPPRESS)
    parser.add_argument("--inferno", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def record(command, data):
    """Runs it under perf."""
    # By the kernel's clock: virtual machines have no counters, and so every sample is so many nanoseconds.
    perf = ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(FREQUENCY_HZ), "--call-graph", f"dwarf,{STACK_BYTES}",
            "--output", data, "--", *command]
    done = subprocess.run(perf, cwd=BENCH_FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: perf or what it ran ended with {done.returncode}:\n{done.stderr}")


def draw(data, inferno, title, subtitle, svg):
    """The SVG of what was recorded; how many CPU-seconds that is."""
    # Without `--no-inline` perf would look up each inlined function of each frame by itself, which takes hours.
    script = ["perf", "script", "--no-inline", "--input", data]
    scripted = subprocess.run(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    folded = subprocess.run([inferno / "inferno-collapse-perf"], input=scripted.stdout, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, check=True)
    cpu_s = sum(int(line.rsplit(b" ", 1)[1]) for line in folded.stdout.splitlines()) / 1e9
    if cpu_s < 0.5:
        raise SystemExit(f"error: only {cpu_s:.2f} CPU-seconds were recorded; more --events")
    command = [inferno / "inferno-flamegraph", "--title", title, "--subtitle", f"{subtitle}, {cpu_s:.2f} CPU-seconds",
               "--countname", "ns", "--minwidth", str(WIDTH_MIN), "--hash", "--fontsize", "11"]
    drawn = subprocess.run(command, input=folded.stdout, stdout=subprocess.PIPE, check=True)
    svg.write_bytes(drawn.stdout)
    return cpu_s


def main():
    options = arguments()
    query = QUERIES[0]
    options.out.mkdir(parents=True, exist_ok=True)
    with kafka() as (servers, _), tempfile.TemporaryDirectory(prefix="amoskys-flame-") as folder:
        folder = pathlib.Path(folder)

        def peers(*command):
            return [options.peers, command[0], f"kafka://{servers}", *map(str, command[1:])]

        say(f"writing {options.events:g} M events, one per record and in envelopes")
        (folder / "keys").mkdir()
        names = ["envelopes", "events"]
        load = peers("load", int(options.events * 1e6), folder / "keys", *names)
        loaded = json.loads(subprocess.run(load, cwd=BENCH_FOLDER, stdout=subprocess.PIPE, check=True, text=True).stdout)
        for name, topic, records, title in [
            ("envelopes", ENVELOPES_TOPIC, loaded["envelopes"], "Drain, envelopes of 500 events"),
            ("events", EVENTS_TOPIC, loaded["events"], "Drain, one event per record"),
        ]:
            # So that the topic is in memory, as it is for the figures.
            subprocess.run(peers("read", topic, records), cwd=BENCH_FOLDER, stdout=subprocess.DEVNULL, check=True)
            sql, data, svg = folder / f"{name}.sql", folder / f"{name}.data", options.out / f"drain-{name}.svg"
            sql.write_text(amoskys_sql(query, name == "envelopes", name))
            record(peers("drain", sql, loaded["events"]), data)
            subtitle = f"{query.title}, 20 aggregates, 10,000 keys, one worker, {loaded['events'] / 1e6:g} M events"
            cpu_s = draw(data, options.inferno, title, subtitle, svg)
            say(f"{svg}: {cpu_s:.2f} CPU-seconds, {svg.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
