#!/usr/bin/env python3
"""Runs Amoskys and Apache Flink over the same topics of one Kafka and says how their costs compare.

Started by ./run, which installs and builds what this needs. Starts a broker of its own, writes the events to it twice (one
per record, and in signed envelopes), and then, for each query, runs Flink once and Amoskys some times; ends what it
started and removes the broker's folder. Exit code 1 when a result differs.
"""

import argparse
import contextlib
import json
import math
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import compare
import measure
import report
import self_test
from measure import say
from queries import (
    ENVELOPES_TOPIC, EVENTS_PER_SECOND, EVENTS_TOPIC, HERE, JITTER_S, LATENESS_S, QUERIES, START_S, amoskys_sql,
    flink_settings, flink_sql, ways,
)

ROOT = HERE.parents[1]
# The benchmark's own folder: it reads its schema from there.
BENCH_FOLDER = ROOT / "processors/pipeline"
# No further pass of Amoskys after this long.
PASSES_SECONDS_MAX = 20
OPENED = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.util", "java.lang", "java.time")]


def arguments():
    names = ", ".join(f"{query.name} ({query.title})" for query in QUERIES)
    parser = argparse.ArgumentParser(prog="infra/bench-peers/run", description=__doc__.split("\n\n", maxsplit=1)[0],
                                     epilog=f"Queries: {names}.")
    parser.add_argument("--events", type=float, default=12, metavar="MILLIONS", help="default 12; 60 s windows need 8")
    parser.add_argument("--query", action="append", choices=[query.name for query in QUERIES], help="default: all")
    parser.add_argument("--passes", type=int, default=3, help="of Amoskys over a topic, the median counts; fewer when "
                        f"they take more than {PASSES_SECONDS_MAX} s together (default 3)")
    parser.add_argument("--flink-seconds", type=float, default=90,
                        help="when Flink is stopped at 1440 s/1 s (default 90)")
    parser.add_argument("--checkpoint-seconds", type=int, default=10, help="Flink's, exactly once (default 10)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--self-test", action="store_true", help="test this program's decisions, and nothing else")
    parser.add_argument("--flink", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--peers", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def kafka():
    """A broker; its address as host:port and its process id."""
    with tempfile.TemporaryDirectory(prefix="amoskys-peers-") as data:
        command = [ROOT / "infra/dev/kafka/run", "--heap", "512m", "--data", data]
        runner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            address = runner.stdout.readline().strip().removeprefix("kafka://")
            if not address:
                raise SystemExit("error: Kafka did not start")
            yield address, int((pathlib.Path(data) / "broker.pid").read_text())
        finally:
            # The end of its input stops it and its broker.
            runner.stdin.close()
            runner.wait()


class Bench:
    """Everything that runs beside one broker."""

    def __init__(self, options, servers, broker_pid, folder):
        self.options, self.servers, self.broker_pid, self.folder = options, servers, broker_pid, folder
        self.keys = folder / "keys"
        self.keys.mkdir()
        wanted = options.query or [query.name for query in QUERIES]
        self.queries = [query for query in QUERIES if query.name in wanted]
        self.loaded = None

    def peers(self, *command):
        return [self.options.peers, command[0], f"kafka://{self.servers}", *map(str, command[1:])]

    def load(self):
        say(f"writing {self.options.events:g} M events, one per record and in envelopes")
        outputs = [f"{query.name}.flink" for query in self.queries]
        outputs += [f"{query.name}.{index}.{number}" for query in self.queries for index in range(len(ways(query)))
                    for number in range(self.options.passes)]
        command = self.peers("load", int(self.options.events * 1e6), self.keys, *outputs)
        done = subprocess.run(command, cwd=BENCH_FOLDER, stdout=subprocess.PIPE, check=True, text=True)
        self.loaded = json.loads(done.stdout)
        # The first pass over a topic is slower.
        for topic, records in [(EVENTS_TOPIC, "events"), (ENVELOPES_TOPIC, "envelopes")]:
            measure.run(self.peers("read", topic, self.loaded[records]), self.broker_pid, BENCH_FOLDER)

    def run(self, query, name, command, seconds_max=None):
        stamps = measure.run(command, self.broker_pid, BENCH_FOLDER, seconds_max)
        figures = measure.figures(stamps, query.steady_from(stamps[-1].events))
        if figures is None:
            raise SystemExit(f"error: {name} was too soon at the end to be measured; more --events")
        say(f"{query.title}: {name}: {figures.cpu_s_per_million:.3f} CPU-s per million, "
            f"{figures.events_per_s / 1e6:.2f} M events/s, {figures.cores_elsewhere:.1f} cores elsewhere")
        return figures

    def flink(self, query):
        sql = self.folder / f"{query.name}.flink.sql"
        sql.write_text(flink_sql(query, self.servers, f"{query.name}.flink"))
        flink = self.options.flink
        command = ["java", "-Xms4g", "-Xmx4g", *OPENED, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
                   "-cp", f"{flink}/classes:{flink}/lib/*", "dev.amoskys.peers.Job", sql,
                   *flink_settings(query, self.options.checkpoint_seconds, self.folder / "checkpoints")]
        return self.run(query, "Flink", command, self.options.flink_seconds if query.bounded else None)

    def amoskys(self, query, name, index, number):
        way = ways(query)[index]
        sql = self.sql(query, index, number)
        sql.write_text(amoskys_sql(query, way.envelopes, sql.stem, way.sink))
        keys = [self.keys] if way.signed else []
        return self.run(query, name, self.peers("drain", sql, self.loaded["events"], *keys))

    def sql(self, query, index, number):
        return self.folder / f"{query.name}.{index}.{number}.sql"

    def passes(self, query, name, index):
        """The figures of each pass."""
        begun, done = time.monotonic(), []
        while len(done) < self.options.passes and (not done or time.monotonic() - begun < PASSES_SECONDS_MAX):
            done.append(self.amoskys(query, name, index, len(done)))
        return done

    def compare(self, query, passes):
        """Compares every pass with Flink's rows; how many were compared. Ends the run where something differs."""
        theirs = compare.read(compare.kcat(self.servers, f"{query.name}.flink"), query.exactly_once)
        # What has surely closed before the end of the topic; Flink closes the rest when it is there.
        until = START_S + math.floor(self.loaded["events"] / EVENTS_PER_SECOND - JITTER_S - LATENESS_S) - 1
        if query.bounded:
            # It was stopped: what its slower half had not written is not compared.
            until = min(until, max((key[0] for key in theirs), default=0) - 5)
        compared = 0
        for index, done in enumerate(passes):
            for number in range(done):
                command = self.peers("rows", self.sql(query, index, number))
                ours = compare.read(command, query.exactly_once, BENCH_FOLDER)
                found, count = compare.differences(theirs, ours, until)
                if found or count == 0:
                    what = "\n".join(found[:20]) or "there was no row to compare; more --events"
                    raise SystemExit(f"error: {query.title}: results differ, {len(found)} of {count} rows:\n{what}")
                compared += count
        return compared

    def measure(self, query):
        flink, ours, passes = self.flink(query), [], []
        for index, way in enumerate(ways(query)):
            done = self.passes(query, way.name, index)
            passes.append(len(done))
            middle = statistics.median_low(figures.cpu_s_per_million for figures in done)
            wanted = query.wanted_envelopes if way.envelopes else query.wanted_events
            ours.append((way.name, wanted, next(each for each in done if each.cpu_s_per_million == middle)))
        return {"query": query, "flink": flink, "amoskys": ours, "compared": self.compare(query, passes),
                "passes": sum(passes)}


def main():
    options = arguments()
    if options.self_test:
        sys.exit(self_test.run())
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with kafka() as (servers, broker_pid), tempfile.TemporaryDirectory(prefix="amoskys-peers-") as folder:
        bench = Bench(options, servers, broker_pid, pathlib.Path(folder))
        bench.load()
        results = []
        for query in bench.queries:
            results.append(bench.measure(query))
            if options.format == "table":
                print(report.table(results[-1]), flush=True)
        if options.format == "json":
            print(report.as_json(bench.loaded, results))


if __name__ == "__main__":
    try:
        main()
    except (measure.Ended, ValueError) as error:
        sys.exit(f"error: {error}")
