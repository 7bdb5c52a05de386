"""Real commands for a recording: benign activities all the time, harmless attack stages now and then.

Writes the ground truth as it goes, one JSON object per line: name, attack (true or false), start_us, end_us,
parent_pid (the process whose children do the work). Every activity is a process of its own, so that its children can
be told from everybody else's. Which commands run, and when, follows from --seed; how long they take does not.

Standard library only. Works in a temporary folder and one in /dev/shm; removes both, and ends what it started.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# What an intruder runs first: T1033, T1057, T1082, T1016, T1049, T1007, T1087, T1083.
DISCOVERY = """whoami;id;uname -a;hostname;ps aux;ps -ef;w;who;last -n 5;uptime;groups;env;df -h;mount;free -m;lscpu;
ip addr;ip route;ss -tan;ss -lun;cat /etc/passwd;cat /etc/group;cat /etc/os-release;cat /proc/version;
cat /proc/cpuinfo;ls -la /root;ls -la /home;ls -la /tmp;ls -la /etc/cron.d;ls /opt;getent passwd;nproc;arch;tty;
date;lsblk;dpkg -l;cat /etc/resolv.conf;cat /etc/hosts;stat /etc/shadow""".replace("\n", "").split(";")

# The same commands in the hands of those who work here: fewer, slower, among others.
ADMIN = """ls -la;pwd;ps aux;df -h;free -m;uptime;id;date;git --version;cat /etc/hosts;ls /var/log;tail -n 3 /etc/passwd;
du -sh .;find . -name '*.c';grep -rn main .;wc -l *.c;sort names.txt;head -n 2 names.txt;python3 -c 'print(1)';
uname -r;hostname;env;who""".replace("\n", "").split(";")
HEALTH = ["uptime", "free -m", "df -h", "ps aux | wc -l", "cat /proc/loadavg", "ss -s", "hostname", "date"]
PACKAGES = ["dpkg -l | wc -l", "dpkg -S /bin/ls", "apt-cache policy bash", "dpkg-query -W bash coreutils grep",
            "apt-cache show grep | head -n 5", "dpkg -L bash | wc -l"]
SEARCHES = ["find /usr/include -name '*.h' | head -n 200 | xargs grep -l define | wc -l", "grep -rn include /usr/include/linux | wc -l",
            "find /etc -type f -newer /etc/hostname | wc -l", "find /usr/share/doc -name copyright | head -n 300 | xargs cat | wc"]


class Workload:
    """Starts activities, each as a process, and logs them."""

    def __init__(self, folder, memory_folder, truth, seed):
        self.folder, self.memory_folder, self.truth = folder, memory_folder, truth
        self.seed = seed
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.running = set()

    def run(self, name, command, attack=False, seconds_max=40):
        """Runs `command` (a list) to its end and logs it."""
        with self.lock:
            if self.stop.is_set():
                return
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            self.running.add(process)
        start_us = time.time_ns() // 1000
        try:
            process.wait(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        entry = {"name": name, "attack": attack, "start_us": start_us, "end_us": time.time_ns() // 1000,
                 "parent_pid": process.pid}
        with self.lock:
            self.running.discard(process)
            self.truth.write(json.dumps(entry) + "\n")
            self.truth.flush()

    def end(self):
        with self.lock:
            self.stop.set()
            for process in self.running:
                # Its own session, so this ends it and its children and nobody else.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    def repeat(self, activity, pause_s, part):
        """Runs an activity again and again, with pauses around `pause_s`, until the end."""
        chance = random.Random(f"{self.seed}-{part}")
        while not self.stop.wait(chance.uniform(0.3, 1.7) * pause_s):
            activity(self, chance)


def script(lines, pause_s, chance):
    """Shell lines with pauses between them."""
    return "\n".join(f"{line}\nsleep {chance.uniform(0.3, 1.7) * pause_s:.3f}" if pause_s else line for line in lines)


def build(work, chance):
    """A parallel make of a few C files, some of it in a memory-backed folder, then the program runs."""
    where = work.memory_folder if chance.random() < 0.3 else work.folder
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=where))
    names = [f"part{i}" for i in range(chance.randint(3, 12))]
    for name in names:
        (folder / f"{name}.c").write_text(f"#include <stdio.h>\nint {name}(void) {{ return printf(\"{name}\\n\"); }}\n")
    (folder / "main.c").write_text("int part0(void);\nint main(void) { return part0() < 0; }\n")
    objects = " ".join(f"{name}.o" for name in [*names, "main"])
    (folder / "Makefile").write_text(f"CC=cc\napp: {objects}\n\t$(CC) -o app {objects}\n\t./app\n")
    work.run("build", ["make", "-C", str(folder), f"-j{chance.randint(1, 3)}"])
    shutil.rmtree(folder, ignore_errors=True)


def configure(work, chance):
    """What ./configure does: hundreds of tiny processes."""
    probes = ["uname -s", "expr 1 + 1", "echo conftest | sed s/conf/test/", "cat names.txt | grep -c a", "rm -f conftest",
              "test -x /bin/sh && mkdir -p conf", "basename /usr/bin/cc", "sort -u names.txt", "hostname", "cc --version",
              "awk '{print $1}' names.txt", "tr a b < names.txt", "date", "arch"]
    work.run("configure", ["sh", "-c", script(chance.choices(probes, k=chance.randint(60, 250)), 0, chance)])


def admin_session(work, chance):
    """Somebody at a shell, thinking between commands."""
    lines = chance.choices(ADMIN, k=chance.randint(5, 15))
    work.run("admin_session", ["bash", "-c", script(lines, chance.choice([0.5, 1.0, 2.0]), chance)])


def health_check(work, chance):
    """A monitoring agent's round: discovery commands, but few, and always the same."""
    shell = chance.choice(["sh", "bash"])
    work.run("health_check", [shell, "-c", script(HEALTH[: chance.randint(3, 8)], 0, chance)])


def git_work(work, chance):
    """Commits in a small repository."""
    folder = Path(tempfile.mkdtemp(prefix="git-", dir=work.folder))
    git = "git -c user.name=a -c user.email=a@example.org"
    lines = ["git init -q .", "echo a > a", "git add a", f"{git} commit -qm a", "git log --oneline", "git status -s",
             "echo b >> a", "git diff", f"{git} commit -qam b", "git gc -q", "git branch x", "git fsck"]
    work.run("git", ["bash", "-c", f"cd {folder}\n" + script(lines, chance.choice([0, 0.2]), chance)])
    shutil.rmtree(folder, ignore_errors=True)


def python_jobs(work, chance):
    """A script that starts helpers, as deployment and test tools do."""
    helper = chance.choice(["['true']", "['python3', '-c', 'pass']", "['sh', '-c', 'date; id -u']", "['gzip', '-kf', 'names.txt']"])
    count, pause = chance.randint(3, 30), chance.choice([0, 0.02, 0.2])
    code = f"import subprocess, time\nfor _ in range({count}): subprocess.run({helper}); time.sleep({pause})"
    work.run("python_jobs", ["python3", "-c", code])


def packages(work, chance):
    work.run("packages", ["sh", "-c", script(chance.sample(PACKAGES, k=chance.randint(2, 6)), 0.1, chance)])


def search(work, chance):
    work.run("search", ["bash", "-c", script(chance.sample(SEARCHES, k=chance.randint(1, 3)), 0.1, chance)])


def cron_job(work, chance):
    lines = ["find . -name '*.gz' -mmin +60 -delete", "tar czf backup.tgz names.txt", "gzip -kf names.txt", "df -h . | tail -n 1",
             "test -e backup.tgz && rm backup.tgz", "date >> log.txt", "tail -n 100 log.txt > log.new", "mv log.new log.txt"]
    work.run("cron_job", ["sh", "-c", script(chance.sample(lines, k=chance.randint(3, 8)), 0, chance)])


def discovery_burst(work, chance):
    """Many different discovery commands in a few seconds, from a shell, a script or an interpreter."""
    commands = chance.sample(DISCOVERY, k=chance.randint(10, 30))
    pause = chance.choice([0, 0, 0.02, 0.1, 0.25])
    lines = [f"{command} || true" for command in commands]
    launcher = chance.choice(["sh", "bash", "python", "perl"])
    if launcher == "python":
        code = f"import subprocess, time\nfor c in {[c.split() for c in commands]!r}:\n" \
               f"    try: subprocess.run(c)\n    except OSError: pass\n    time.sleep({pause})"
        command = ["python3", "-c", code]
    elif launcher == "perl":
        command = ["perl", "-e", f"for (split /;/, q({';'.join(commands)})) {{ system(split / /); select(undef, undef, undef, {pause}); }}"]
    else:
        command = [launcher, "-c", script(lines, pause, chance)]
    work.run("discovery_burst", command, attack=True)


def deleted_binary(work, chance):
    """A copy of a small program runs out of memory and is deleted while it does (T1070.004, T1036)."""
    path = Path(work.memory_folder) / chance.choice(["kworker", "dbus", ".x", "sshd", "systemd-udevd"])
    seconds = chance.uniform(1, 5)
    lines = [f"cp /bin/sleep {path}", f"{path} {seconds:.1f} &", "sleep 0.2", f"rm -f {path}", *chance.sample(DISCOVERY, k=3), "wait"]
    work.run("deleted_binary", ["sh", "-c", "\n".join(lines)], attack=True)


# Activity and the pause before it, seconds: the benign ones together keep a host as busy as a developer's.
BENIGN = [(build, 6), (configure, 15), (admin_session, 4), (health_check, 10), (git_work, 9), (python_jobs, 6), (packages, 14),
          (search, 12), (cron_job, 8)]
ATTACKS = [(discovery_burst, 12), (deleted_binary, 45)]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="training/workload", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=900, help="how long (default: 900)")
    parser.add_argument("--truth", required=True, help="file to write the log of activities to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--benign-only", action="store_true", help="stage no attacks")
    options = parser.parse_args(argv)
    # Both signals take the way of the end of time: folders go, processes end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    with tempfile.TemporaryDirectory(prefix="amoskys-workload-", ignore_cleanup_errors=True) as folder, \
         tempfile.TemporaryDirectory(prefix="amoskys-workload-", dir="/dev/shm", ignore_cleanup_errors=True) as memory, \
         open(options.truth, "w", encoding="utf-8") as truth:
        Path(folder, "names.txt").write_text("".join(f"name{i} a b\n" for i in range(200)))
        work = Workload(folder, memory, truth, options.seed)
        activities = BENIGN if options.benign_only else BENIGN + ATTACKS
        threads = [threading.Thread(target=work.repeat, args=(activity, pause_s, activity.__name__), daemon=True)
                   for activity, pause_s in activities]
        try:
            for thread in threads:
                thread.start()
            time.sleep(options.seconds)
        finally:
            work.end()
            for thread in threads:
                thread.join(timeout=45)
    return 0


if __name__ == "__main__":
    sys.exit(main())
