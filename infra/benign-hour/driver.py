"""Records a benign hour: agent and load for as long as asked, then what the load did as two Parquet files.

The load (inside/) runs in a Debian root of its own, with namespaces and a control group that is named like a container's. The agent's
configuration is the one of docs/syscalls.md for the detections that ship, and the load's control group as the only one whose calls are
looked at. What the files hold: `cut.py`. Events that the agent lost are counted, and are an error unless --lost-ok.
Deliberately not here: what the load does, and which alerts come of it (tests/benign_hour.rs).
Limits: as root, eBPF, the unified hierarchy of control groups. What else the machine does is not recorded, but slows the load.
"""

import argparse
import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PROCESSES, SYSCALLS = "amoskys.telemetry.process.v1", "amoskys.telemetry.syscall.v1"
# What the load takes longer than asked, at most: its last session goes on to its end.
OVERTIME_SECONDS_MAX = 900
# A shorter name of a machine is a word of other things, too.
NAME_CHARACTERS_MIN = 5
LOST = ("amoskys_agent_dropped_events_total", "amoskys_agent_kernel_lost_messages_total", "amoskys_agent_forgotten_processes_total",
        "amoskys_agent_unaccounted_events")


def main():
    parser = argparse.ArgumentParser(prog="infra/benign-hour/record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/benign_hour"), help="folder of the files (tests/benign_hour)")
    parser.add_argument("--lost-ok", action="store_true", help="keep the recording although the agent lost events")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER", help="also leave the whole export, the metrics and the load's log there")
    parser.add_argument("--program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        # A folder beside the root, so that it is on the same file system and not in memory.
        work = pathlib.Path(tempfile.mkdtemp(prefix="recording-", dir=arguments.root.parent))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return record(arguments, work, stack)


def record(arguments, work, stack):
    # Needs pyarrow, which is in the training's Python; --help does without.
    import cut

    container = secrets.token_hex(32)
    group = unified_hierarchy() / container
    group.mkdir()
    stack.callback(remove, group)
    root = work / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", arguments.root, root], check=True)
    (root / "usr/local/lib/hour/seconds").write_text(str(int(arguments.minutes * 60)))
    state = work / "state"
    state.mkdir()
    shutil.copy2(arguments.program, state / "amoskys")
    port = free_port()
    (state / "agent.toml").write_text(configuration(port, group))

    agent = subprocess.Popen([HERE / "enter", "agent", root, group, state, "/run/amoskys/amoskys", "-q", "agent", "--config",
                              "/run/amoskys/agent.toml", "--create-topics", "1"])
    stack.callback(end, agent)
    wait_for(lambda: page(port, "readyz") is not None or agent.poll() is not None, 60, "the agent is not ready")
    print(f"recording {arguments.minutes:g} minutes", file=sys.stderr, flush=True)
    load = subprocess.Popen([HERE / "enter", "load", root, group, state, "/sbin/init"])
    stack.callback(kill, group, load)
    ended = root / "usr/local/lib/hour/ended"
    wait_for(lambda: ended.exists() or load.poll() is not None or agent.poll() is not None,
             arguments.minutes * 60 + OVERTIME_SECONDS_MAX, "the load does not end")
    failed = agent.poll() is not None or not ended.exists() or ended.read_text().strip() != "0"
    cpu_seconds = int((group / "cpu.stat").read_text().split()[1]) / 1e6
    kill(group, load)
    # What the load's end looks like is in the log too, before the agent ends.
    time.sleep(3)
    metrics = page(port, "metrics") or ""
    end(agent)
    for topic, name in [(PROCESSES, "all-processes"), (SYSCALLS, "all-syscalls")]:
        subprocess.run([arguments.program, "-q", "topics", "export", topic, "--bus", f"local:{state / 'log'}", "--output",
                        work / f"{name}.parquet"], check=True)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for path in [work / "all-processes.parquet", work / "all-syscalls.parquet", root / "var/log/hour.log"]:
            shutil.copy2(path, arguments.keep)
        (arguments.keep / "metrics.txt").write_text(metrics)
        (arguments.keep / "container").write_text(f"{container}\n")
    if failed:
        log = root / "var/log/hour.log"
        sys.exit(f"benign-hour: the load failed:\n{log.read_text(errors='replace')[-2000:] if log.exists() else 'it did not start'}")
    lost = counters(metrics)
    account = cut.cut(work, arguments.output, container)
    mine = cut.texts_with(arguments.output, words_of_this_machine(arguments))
    if mine:
        sys.exit(f"benign-hour: the recording has words of this machine, do not commit it: {mine[:5]}")
    account["lost"] = lost
    account["load_cpu_seconds"] = round(cpu_seconds)
    cut.write_account(arguments.output, account)
    print(cut.shown(account))
    if any(cut.UNFINISHED not in name for name in lost) and not arguments.lost_ok:
        sys.exit(f"benign-hour: the agent lost events: {lost}")
    return 0


def words_of_this_machine(arguments):
    """Folders, and the machine's name if it is long enough to be one and nothing else."""
    name = os.uname().nodename
    folders = [arguments.root.parent.resolve(), arguments.program.resolve().parent, HERE.parent.parent]
    return [str(folder) for folder in folders] + [name] * (len(name) >= NAME_CHARACTERS_MIN)


def configuration(port, group):
    """The page's, with eBPF or nothing, and for the load's control group only."""
    page_of_syscalls = (HERE / "../../docs/syscalls.md").read_text()
    syscall = page_of_syscalls.split("## For the detections that ship")[1].split("```toml\n")[1].split("```")[0]
    return (
        '[agent]\nhost_id = "build-01"\nsign = false\nwal_path = "/run/amoskys/wal"\nbus_address = "local:/run/amoskys/log"\n'
        f"metrics_port = {port}\nhealth_port = {port}\n"
        + syscall.replace('"auto"', '"ebpf"')
        + f'cgroups = ["{group}"]\n'
    )


def counters(metrics):
    """What is above 0 of what would be 0 if nothing was lost."""
    found = {}
    for line in metrics.splitlines():
        if line.split("{")[0].split(" ")[0] not in LOST:
            continue
        name, value = line.rsplit(" ", 1)
        if float(value) > 0:
            found[name] = float(value)
    return found


def unified_hierarchy():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    sys.exit("benign-hour: this machine has no unified hierarchy of control groups")


def page(port, name):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5).read().decode()
    return None


def wait_for(condition, seconds_max, complaint):
    until = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"benign-hour: {complaint} within {seconds_max:g} s")
        time.sleep(0.5)


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kill(group, load):
    """Everything in the control group, and who waits for it."""
    if load.poll() is None:
        (group / "cgroup.kill").write_text("1")
        load.wait(30)


def remove(group):
    wait_for(lambda: not (group / "cgroup.procs").read_text(), 30, "processes of the load remain")
    group.rmdir()


def free_port():
    import socket

    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
