"""The load of the recorded hour: two people at terminals and a web server's visitors, for SECONDS, with pauses. day.py SECONDS

Ends when the time is over and says what went wrong, with exit code 1. Cron and the services do their work beside. Deliberately not
here: what is done (`sessions.py`, `house.cron`, `requests.lua`).
"""

import subprocess
import sys
import threading
import time

import sessions
import terminal

BURST_SECONDS = 12
FAULTS = []


def spread(items, seconds, do):
    """Does one after the other, so that they are spread over the time."""
    begin = time.monotonic()
    for number, item in enumerate(items):
        at = begin + number * seconds / len(items)
        time.sleep(max(0, at - time.monotonic()))
        do(item)


def person(user, texts, seconds):
    # Someone who types needs some seconds for a line, unless the hour is a short one.
    pause = min(8, seconds / len(texts) / 40)

    def one(lines):
        fault = terminal.session(user, lines, pause)
        if fault:
            FAULTS.append(fault)
    spread(texts, seconds, one)


def visitors(seconds):
    """Bursts, and some requests between them."""
    def burst(_):
        done = subprocess.run(
            ["wrk", "-t1", "-c4", f"-d{BURST_SECONDS}s", "-s", "/usr/local/lib/hour/requests.lua", "http://127.0.0.1/"],
            capture_output=True, text=True, check=False,
        )
        print(f"[visitors]\n{done.stdout}{done.stderr}", file=sys.stderr, flush=True)
        if done.returncode != 0 or "requests in" not in done.stdout:
            FAULTS.append(f"visitors: {done.stdout}{done.stderr}")
    spread(range(max(2, int(seconds / 100))), seconds, burst)


def main():
    seconds = float(sys.argv[1])
    until = time.monotonic() + seconds
    # The last things that are done need some time.
    work = seconds * 0.95
    jobs = [(person, "ann", sessions.ANN, work), (person, "ben", sessions.BEN, work), (visitors, work)]
    threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0, until - time.monotonic()))
    for fault in FAULTS:
        print(f"fault: {fault}", file=sys.stderr, flush=True)
    return 1 if FAULTS else 0


if __name__ == "__main__":
    sys.exit(main())
