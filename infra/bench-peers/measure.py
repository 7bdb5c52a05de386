"""What a process took: its lines `progress EVENTS` are stamped with the clock and with the kernel's count of its CPU time.

CPU time is user and system time of the whole process from /proc/PID/stat, in ticks of 10 ms; so spans of a second are
good to a percent or two.
"""

import dataclasses
import os
import subprocess
import sys
import threading
import time

# A process that says nothing for this long hangs.
SILENCE_SECONDS_MAX = 180
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Stamp:
    """`events` were read when the clocks stood so."""

    events: int
    wall_s: float
    cpu_s: float
    broker_cpu_s: float
    machine_cpu_s: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one pass, between two stamps."""

    from_events: int
    to_events: int
    events_per_s: float
    cpu_s_per_million: float
    broker_cpu_s_per_million: float
    # Cores that others than this process and the broker kept busy.
    cores_elsewhere: float


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def machine_cpu_s():
    with open("/proc/stat") as stat:
        ticks = [int(text) for text in stat.readline().split()[1:]]
    # user, nice, system, idle, iowait, irq, softirq, …
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / TICKS_PER_SECOND


def figures(stamps, steady_from):
    """Between the first stamp at or after `steady_from` events and the last. None when that is no span."""
    begin = next((stamp for stamp in stamps if stamp.events >= steady_from), None)
    if begin is None or stamps[-1].events <= begin.events:
        return None
    end = stamps[-1]
    millions, wall = (end.events - begin.events) / 1e6, end.wall_s - begin.wall_s
    own, broker = end.cpu_s - begin.cpu_s, end.broker_cpu_s - begin.broker_cpu_s
    elsewhere = max(0.0, end.machine_cpu_s - begin.machine_cpu_s - own - broker)
    return Figures(begin.events, end.events, millions * 1e6 / wall, own / millions, broker / millions, elsewhere / wall)


class Ended(Exception):
    """A process did not end as it should; the text says what it wrote."""


def run(command, broker_pid, cwd, seconds_max=None):
    """Runs `command` to its end, or ends it after `seconds_max` of progress; the stamps. Its id is its own: no shell."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    errors, stamps, bounded = [], [], False
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    heard = [time.monotonic()]
    threading.Thread(target=_end_if_silent, args=(process, heard), daemon=True).start()
    try:
        for line in process.stdout:
            heard[0] = time.monotonic()
            if not line.startswith("progress "):
                continue
            try:
                own = cpu_s(process.pid)
            except (FileNotFoundError, ProcessLookupError):
                break
            stamps.append(Stamp(int(line.split()[1]), time.monotonic(), own, cpu_s(broker_pid), machine_cpu_s()))
            if seconds_max and stamps[-1].wall_s - stamps[0].wall_s > seconds_max:
                bounded = True
                break
        if bounded:
            process.terminate()
            process.stdout.read()
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    reader.join(5)
    if not stamps or (code != 0 and not bounded):
        raise Ended(f"{' '.join(map(str, command[:1]))} … ended with {code}:\n{''.join(errors)[-6000:]}")
    return stamps


def _end_if_silent(process, heard):
    while process.poll() is None:
        if time.monotonic() - heard[0] > SILENCE_SECONDS_MAX:
            say(f"{process.args[0]} said nothing for {SILENCE_SECONDS_MAX} s and is ended")
            process.kill()
            return
        time.sleep(1)


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)
