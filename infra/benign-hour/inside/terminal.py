"""A person at a terminal: `ssh -tt` to this host, lines typed with pauses, each after the one before is done.

A line is done when the shell has answered a mark that is typed behind it. Bounded: a line that takes too long ends the session.
Deliberately not here: what is typed (`sessions.py`).
"""

import os
import pty
import select
import signal
import subprocess
import sys
import time

LINE_SECONDS_MAX = 300
OUTPUT_BYTES_MAX = 64 << 10


class Terminal:
    def __init__(self, user):
        self.master, slave = pty.openpty()
        command = ["ssh", "-tt", f"{user}@127.0.0.1"]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**os.environ, "TERM": "xterm"})
        os.close(slave)
        self.number, self.output = 0, b""
        self.wait_for(b"$ ", 60)

    def wait_for(self, word, seconds):
        until = time.monotonic() + seconds
        while word not in self.output:
            left = until - time.monotonic()
            if left <= 0:
                tail = self.output[-300:].decode(errors="replace")
                raise TimeoutError(f"{word!r} did not come within {seconds} s, but: {tail}")
            if select.select([self.master], [], [], left)[0]:
                # A pseudo-terminal whose other side is closed gives an error.
                self.output = (self.output + os.read(self.master, 65536))[-OUTPUT_BYTES_MAX:]

    def line(self, text, secrets=()):
        """Types a line; `secrets` are pairs of a prompt and what to answer."""
        self.number += 1
        self.output = b""
        # The echo of what is typed has the variable, the answer its value.
        os.write(self.master, f"{text}; echo done-$((1000+{self.number}))\n".encode())
        for prompt, answer in secrets:
            self.wait_for(prompt, LINE_SECONDS_MAX)
            self.output = b""
            time.sleep(0.2)
            os.write(self.master, answer + b"\n")
        self.wait_for(f"done-{1000 + self.number}".encode(), LINE_SECONDS_MAX)

    def close(self):
        try:
            os.write(self.master, b"exit\n")
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.send_signal(signal.SIGHUP)
            self.process.wait(10)
        os.close(self.master)


def session(user, lines, pause_seconds, verbose=True):
    """Logs in, types all lines and leaves. A line is a text, or a text with its secrets. What went wrong, or None."""
    try:
        terminal = Terminal(user)
    except (OSError, TimeoutError) as error:
        return f"{user} cannot log in: {error}"
    try:
        for line in lines:
            text, secrets = (line, ()) if isinstance(line, str) else line
            terminal.line(text, secrets)
            if verbose:
                shown = terminal.output[-2000:].decode(errors="replace").replace("\r", "")
                print(f"[{user}] {text}\n{shown}", file=sys.stderr, flush=True)
            time.sleep(pause_seconds)
    except (OSError, TimeoutError) as error:
        return f"{user}: {line}: {error}"
    finally:
        terminal.close()
    return None
