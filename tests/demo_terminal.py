#!/usr/bin/env python3
"""Runs a command on a terminal of its own, as a person at a screen would: demo_terminal.py TEXT… -- COMMAND…

Types Ctrl-C once every TEXT has been on the screen, waits for the command's end, and prints one JSON object: the texts
that were `seen`, the `exit` code, whether the terminal's settings are `restored` and whether the `screen` and the
`cursor` were given back. Knows as much of terminals as it takes to read the demo's screen: moves of the cursor, erasing,
modes. The command is ended by its own id when it does not end in time.
"""
import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

ROWS, COLUMNS = 50, 160
PATIENCE_SECONDS = 120
SEQUENCE = re.compile(r"\x1b(?:\[([?>=]?)([\d;]*)([@-~])|[^\[])")
UNFINISHED = re.compile(r"\x1b(?:\[[?>=]?[\d;]*)?$")


class Screen:
    """What is on the terminal."""

    def __init__(self):
        self.cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self.row = self.column = 0
        self.modes = set()
        self.rest = ""

    def text(self):
        return "\n".join("".join(row) for row in self.cells)

    def feed(self, text):
        text = self.rest + text
        unfinished = UNFINISHED.search(text)
        self.rest = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self.rest)]
        place = 0
        for sequence in SEQUENCE.finditer(text):
            self.write(text[place : sequence.start()])
            if sequence[3]:
                self.control(sequence[1], sequence[2], sequence[3])
            place = sequence.end()
        self.write(text[place:])

    def write(self, text):
        for character in text:
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.row = min(self.row + 1, ROWS - 1)
            elif self.column < COLUMNS:
                self.cells[self.row][self.column] = character
                self.column += 1

    def control(self, private, numbers, name):
        numbers = [int(number or 0) for number in numbers.split(";")]
        if name in "Hf":
            at = [max(number, 1) for number in numbers + [1]]
            self.row, self.column = min(at[0], ROWS) - 1, min(at[1], COLUMNS) - 1
        elif name == "J":
            self.cells = [[" "] * COLUMNS for _ in range(ROWS)]
        elif name == "K":
            self.cells[self.row][self.column :] = [" "] * (COLUMNS - self.column)
        elif name == "C":
            self.column = min(self.column + max(numbers[0], 1), COLUMNS - 1)
        elif name == "h" and private:
            self.modes |= set(numbers)
        elif name == "l" and private:
            self.modes -= set(numbers)


def start(command, terminal):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )


def watch(process, master, texts):
    """The texts that were on the screen, and the screen at the end."""
    screen, seen, typed = Screen(), set(), False
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        ended = process.poll() is not None
        ready, _, _ = select.select([master], [], [], 0 if ended else 0.1)
        if ready:
            screen.feed(decoder.decode(os.read(master, 65536)))
            shown = screen.text()
            seen |= {text for text in texts if text in shown}
        elif ended:
            break
        if seen == set(texts) and not typed:
            os.write(master, b"\x03")
            typed = True
    return seen, screen


def main(texts, command):
    master, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    process = start(command, terminal)
    try:
        seen, screen = watch(process, master, texts)
        result = {
            "seen": sorted(seen),
            "exit": process.poll(),
            "restored": termios.tcgetattr(terminal) == before,
            "screen": 1049 not in screen.modes,
            "cursor": 25 in screen.modes,
            "last": screen.text().rstrip(),
        }
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    print(json.dumps(result))


if __name__ == "__main__":
    middle = sys.argv.index("--")
    main(sys.argv[1:middle], sys.argv[middle + 1 :])
