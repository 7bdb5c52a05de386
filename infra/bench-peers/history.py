"""`amoskys sql run` over Parquet beside DuckDB over the same files, windows of query A.

Both use all cores, read the same files and write the same few rows, which are compared. DuckDB computes it in each of
several ways; the fastest counts. What is measured and how: docs/benchmarks.md, "Against DuckDB, over history".
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from duckdb_side import WAYS

HERE = pathlib.Path(__file__).resolve().parent
# Which of DuckDB's ways is tried at which size; putting every row into 60 windows takes minutes.
SIZES_S = {5: WAYS, 60: ("panes", "join", "over")}
# DuckDB's time over Amoskys', as wanted.
WANTED = {5: 0.5, 60: 1.0}
# Sums of squares against one pass of deviations.
APPROXIMATE = {"bytes_avg", "bytes_stddev", "duration_avg", "duration_stddev"}
RELATIVE = 1e-9


def timed(command):
    """Seconds by the wall and of CPU, and the peak of resident memory in MiB, of a process that must succeed."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.monotonic() - begun
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {process.returncode}")
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def rows(duckdb, path):
    """By key and window."""
    found = {}
    table = duckdb.execute(f"SELECT * FROM '{path}'")
    names = [column[0] for column in table.description]
    for values in table.fetchall():
        row = dict(zip(names, values))
        end = row.pop("window_end")
        if end.tzinfo is None:
            end = end.replace(tzinfo=datetime.timezone.utc)
        found[row.pop("host"), row.pop("pid"), end] = row
    return found


def differences(theirs, ours):
    found = [f"only {'Amoskys' if key in ours else 'DuckDB'} has {key}" for key in theirs.keys() ^ ours.keys()]
    for key in theirs.keys() & ours.keys():
        if theirs[key].keys() != ours[key].keys():
            return [f"columns {sorted(theirs[key])} in DuckDB and {sorted(ours[key])} in Amoskys"]
        for name, their in theirs[key].items():
            our = ours[key][name]
            near = name in APPROXIMATE and None not in (their, our) and math.isclose(their, our, rel_tol=RELATIVE)
            if their != our and not near:
                found.append(f"{key}: {name} is {their} in DuckDB and {our} in Amoskys")
    return found


def measure(options, folder, size_s):
    import duckdb

    sql = folder / f"history-{size_s}.sql"
    sql.write_text((HERE / "history.sql").read_text().replace("{size_s}", str(size_s)))
    events = folder / "events"
    taken = {way: [] for way in (*SIZES_S[size_s], "amoskys")}
    for number in range(options.passes):
        for way, passes in taken.items():
            output = folder / f"{way}-{size_s}-{number}.parquet"
            if way == "amoskys":
                command = [options.amoskys, "-q", "sql", "run", sql, "--from", f"events={events}", "--view", "rare",
                           "--output", output]
            else:
                command = [sys.executable, HERE / "duckdb_side.py", events, str(size_s), way, output]
            passes.append(timed(command))
            print(f"{size_s} s, {way}: {passes[-1][0]:.2f} s, {passes[-1][1]:.2f} CPU-s", file=sys.stderr)
    ours = rows(duckdb.connect(), folder / f"amoskys-{size_s}-0.parquet")
    differing = []
    for way in SIZES_S[size_s]:
        differing += [f"{way}: {text}" for text in differences(rows(duckdb.connect(), folder / f"{way}-{size_s}-0.parquet"),
                                                               ours)]
    medians = {way: [statistics.median(values) for values in zip(*passes)] for way, passes in taken.items()}
    fastest = min(SIZES_S[size_s], key=lambda way: medians[way][0])
    return {
        "size_s": size_s, "rows_compared": len(ours), "differences": differing, "fastest_way": fastest,
        "wanted": WANTED[size_s], "ratio_wall": medians[fastest][0] / medians["amoskys"][0],
        "ratio_cpu": medians[fastest][1] / medians["amoskys"][1],
        "taken": {way: dict(zip(("wall_s", "cpu_s", "peak_mib"), values)) for way, values in medians.items()},
    }


def table(result, events):
    lines = [f"Windows of {result['size_s']} s sliding by 1 s, {events:,} events",
             f"{'':10} {'s':>8} {'CPU-s per million':>18} {'peak MiB':>9}"]
    for way, taken in result["taken"].items():
        name = "Amoskys" if way == "amoskys" else f"DuckDB {way}"
        per_million = taken["cpu_s"] / events * 1e6
        lines.append(f"{name:12} {taken['wall_s']:6.2f} {per_million:18.3f} {taken['peak_mib']:9.0f}")
    lines.append(f"DuckDB's fastest over Amoskys: {result['ratio_wall']:.1f} times the time, {result['ratio_cpu']:.1f} times "
                 f"the CPU (wanted: {result['wanted']}); {result['rows_compared']} rows compared, "
                 f"{len(result['differences'])} differences\n")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="infra/bench-peers/history", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--events", type=float, default=12, metavar="MILLIONS", help="default 12")
    parser.add_argument("--passes", type=int, default=3, help="of each; the median counts (default 3)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--amoskys", help=argparse.SUPPRESS)
    parser.add_argument("--peers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    events = int(options.events * 1e6)
    with tempfile.TemporaryDirectory(prefix="amoskys-history-") as folder:
        folder = pathlib.Path(folder)
        print(f"writing {events:,} events", file=sys.stderr)
        subprocess.run([options.peers, "parquet", folder / "events", str(events)], check=True)
        results = []
        for size_s in SIZES_S:
            results.append(measure(options, folder, size_s))
            if options.format == "table":
                print(table(results[-1], events), flush=True)
    if options.format == "json":
        print(json.dumps({"events": events, "results": results}, indent=2))
    differing = [text for result in results for text in result["differences"]]
    if differing:
        sys.exit("error: what was computed differs:\n" + "\n".join(differing[:20]))


if __name__ == "__main__":
    main()
