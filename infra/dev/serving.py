"""What the scripts beside it share that run a server for development and tests: one process, its folder, and their end.

A script's own part is `serve(options, data)`: it writes what the server needs into the folder and calls `hold`. SIGTERM, SIGINT or
the end of standard input ends the server, by its own process id; the folder goes with it unless --data named it.
"""
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

STOP_SECONDS_MAX = 20


def add_arguments(parser):
    """Those that every such script has."""
    parser.add_argument("--port", type=int, default=0, help="the server's port (default: a free one)")
    parser.add_argument("--data", type=pathlib.Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--temporary", action="store_true", help="remove --data too, when standard input ends")
    parser.add_argument("--ignore-stdin", action="store_true", help="go on when standard input ends")


def stop(server):
    """Ends this server, by its own process id, and waits for it."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def hold(command, output_file, pid_file, is_up, seconds_max, lines):
    """Starts the server, prints the lines once it is up, and waits for its end; gives its exit code."""
    with open(output_file, "ab") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        pid_file.write_text(str(server.pid))
        deadline = time.monotonic() + seconds_max
        while not is_up():
            if server.poll() is not None or time.monotonic() > deadline:
                said = output_file.read_text()[-4000:]
                raise SystemExit(f"error: {command[0]} did not start (see {output_file.parent}):\n{said}")
            time.sleep(0.02)
        print("\n".join(lines), flush=True)
        return server.wait()
    finally:
        # A second signal must not leave the server behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop(server)


def watch_stdin(ended):
    """Turns the end of standard input, so the end of whoever started this, into a SIGTERM to this process."""
    def read():
        while sys.stdin.buffer.raw.read(4096):
            pass
        ended.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    threading.Thread(target=read, daemon=True).start()


def main(options, prefix, serve):
    """Runs `serve(options, data)` until somebody ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    stdin_ended = threading.Event()
    if not options.ignore_stdin:
        watch_stdin(stdin_ended)
    data = (options.data or pathlib.Path(tempfile.mkdtemp(prefix=prefix))).resolve()
    try:
        data.mkdir(parents=True, exist_ok=True)
        sys.exit(serve(options, data))
    finally:
        if options.data is None or (options.temporary and stdin_ended.is_set()):
            shutil.rmtree(data, ignore_errors=True)
