"""Whether both sides computed the same: rows of JSON, read from their output topics as committed.

Counts, sums, minima and maxima have to be equal, means and deviations to one part in 10^9. Of an output that has every
row, windows that end at a multiple of ten seconds are compared, and of them every row.
"""

import datetime
import json
import math
import re
import subprocess

APPROXIMATE = {"bytes_avg", "bytes_stddev", "duration_avg", "duration_stddev"}
RELATIVE = 1e-9
EVERY_S = 10
WINDOW_END = re.compile(r'"window_end":"([^"]{19})')


def second(text):
    """Seconds since 1970 of a window's end as either side writes it; windows end at whole seconds."""
    return int(datetime.datetime.fromisoformat(text[:19]).replace(tzinfo=datetime.timezone.utc).timestamp())


def rows(lines, thin):
    """(end, host, pid) → the other columns. `thin` leaves windows out that end at no multiple of ten seconds."""
    found = {}
    for line in lines:
        if thin and second(WINDOW_END.search(line)[1]) % EVERY_S:
            continue
        row = {name: value for name, value in json.loads(line).items() if value is not None}
        key = (second(row.pop("window_end")), row.pop("host"), row.pop("pid"))
        if key in found:
            raise ValueError(f"the window {key} came twice")
        found[key] = row
    return found


def kcat(servers, topic):
    return ["kcat", "-C", "-q", "-e", "-b", servers, "-t", topic, "-X", "isolation.level=read_committed"]


def read(command, thin, cwd=None):
    """The rows that `command` prints, a line of JSON each."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd) as reader:
        found = rows(reader.stdout, thin)
    if reader.returncode != 0:
        raise ValueError(f"rows could not be read: {' '.join(map(str, command))}")
    return found


def differences(theirs, ours, until_s):
    """What differs among the windows that end by `until_s`, as lines; and how many rows were compared."""
    keys = sorted(key for key in theirs.keys() | ours.keys() if key[0] <= until_s)
    found = []
    for key in keys:
        if key not in theirs or key not in ours:
            found.append(f"{key}: only {'Amoskys' if key in ours else 'Flink'} has it")
            continue
        for name in sorted(theirs[key].keys() | ours[key].keys()):
            their, our = theirs[key].get(name), ours[key].get(name)
            if not equal(name, their, our):
                found.append(f"{key}: {name} is {their} in Flink and {our} in Amoskys")
    return found, len(keys)


def equal(name, their, our):
    if their is None or our is None:
        return their is our
    return math.isclose(their, our, rel_tol=RELATIVE) if name in APPROXIMATE else their == our
