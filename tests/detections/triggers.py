"""Makes the system calls that the shipped detections look for, without harm: what it starts does nothing, what it writes it takes away.

Prints a JSON object for each: the detection, and a word that its alert's entity has. Root; needs nothing but Python and coreutils.
Not here: anything that would be an attack: no code runs that is not `true`, `rm` or a shell that does nothing.
"""

import ctypes
import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PTRACE_PEEKDATA, PTRACE_POKEDATA, PTRACE_ATTACH, PTRACE_DETACH = 2, 5, 16, 17
NOBODY = 65534
TRUE = shutil.which("true")


def told(detection, word):
    print(json.dumps({"detection": detection, "word": str(word)}), flush=True)


def in_child(work):
    """Runs `work` in a process of its own and waits for it; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    return pid


def checked(result, call):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def reverse_shell():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def connect_and_become_a_shell():
            socket.create_connection(listener.getsockname())
            os.execv("/bin/sh", ["sh", "-c", "true"])
        told("reverse_shell", f"pid {in_child(connect_and_become_a_shell)} ")


def sleeper():
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def ptrace_injection(word, address):
    target = sleeper()

    def write():
        checked(libc.ptrace(PTRACE_ATTACH, target, None, None), "attach")
        os.waitpid(target, 0)
        checked(libc.ptrace(PTRACE_POKEDATA, target, address, word.value), "poke")
        checked(libc.ptrace(PTRACE_DETACH, target, None, None), "detach")
        os._exit(0)
    told("ptrace_injection", f"(pid {in_child(write)})")
    end(target)


def memory_written_from_outside(word, address):
    class Iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]
    target = sleeper()

    def write():
        own, other = Iovec(address, 8), Iovec(address, 8)
        written = libc.process_vm_writev(target, ctypes.byref(own), 1, ctypes.byref(other), 1, 0)
        checked(written, "process_vm_writev")
        os._exit(0)
    told("memory_written_from_outside", f"(pid {in_child(write)})")
    end(target)


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def writable_memory_executable():
    def make_executable():
        memory = mmap.mmap(-1, mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        checked(libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC), "mprotect")
        os._exit(0)
    told("writable_memory_executable", f"(pid {in_child(make_executable)})")


def memfd_exec():
    def run():
        memory = os.memfd_create("harmless")
        with open(TRUE, "rb") as program:
            os.write(memory, program.read())
        os.execv(f"/proc/self/fd/{memory}", ["true"])
    told("memfd_exec", f"pid {in_child(run)} ")


def dropped_and_run(folder):
    program = os.path.join(folder, "dropped")
    shutil.copyfile(TRUE, program)
    os.chmod(program, 0o755)
    subprocess.run([program], check=True)
    told("dropped_and_run", program)


def deletes_itself(folder):
    program = os.path.join(folder, "itself")
    shutil.copyfile(shutil.which("rm"), program)
    os.chmod(program, 0o755)
    subprocess.run([program, program], check=True)
    told("deletes_itself", program)


def server_starts_shell():
    def serve():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            listener.accept()
            subprocess.run(["/bin/sh", "-c", "true"], check=True)
            client.close()
        os._exit(0)
    told("server_starts_shell", f"pid {in_child(serve)} ")


def setuid_bit_set(folder):
    file = os.path.join(folder, "setuid")
    with open(file, "w", encoding="ascii"):
        pass
    os.chmod(file, 0o4755)
    told("setuid_bit_set", file)


def persistence_file_written():
    """A unit that does nothing and that nothing asks for."""
    folder = "/etc/systemd/system"
    made = not os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    file = f"{folder}/amoskys-test-{os.getpid()}.service"
    try:
        with open(file, "w", encoding="ascii") as unit:
            unit.write("# of a test\n")
    finally:
        os.unlink(file)
        if made:
            os.rmdir(folder)
    told("persistence_file_written", file)


def credentials_read():
    def read():
        with open("/etc/shadow", "rb"):
            os._exit(0)
    def read_from_there():
        os.chdir("/etc")
        with open("shadow", "rb"):
            os._exit(0)

    def read_from_a_descriptor():
        folder = os.open("/usr/share", os.O_PATH | os.O_DIRECTORY)
        os.open("../../etc/shadow", os.O_RDONLY, dir_fd=folder)
        os._exit(0)
    for reading in (read, read_from_there, read_from_a_descriptor):
        told("credentials_read", f"(pid {in_child(reading)})")


def became_root():
    """A user's process whose ids change without a call that is told: by the 32-bit entry, which this program may use as it keeps root's
    saved id, and whose calls the agent leaves out."""
    def change():
        os.setresuid(NOBODY, NOBODY, 0)
        # Longer than a session's gap, so that the call above is of another.
        time.sleep(6)
        knock()
        code = bytes.fromhex("53 b8d0000000 31db 31c9 31d2 cd80 5b c3")  # setresuid(0, 0, 0) by int 0x80
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
        if os.geteuid() != 0:
            os._exit(3)
        knock()
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        change()
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        told("became_root", f"(pid {pid})")
    else:
        print("SKIPPED: became_root cannot be triggered: this kernel has no 32-bit entry", file=sys.stderr, flush=True)


def knock():
    """A call that is told, and does nothing."""
    with socket.socket() as unconnected:
        unconnected.connect_ex(("127.0.0.1", 1))


def main():
    word = ctypes.c_long(7)
    address = ctypes.addressof(word)
    with tempfile.TemporaryDirectory(prefix="amoskys-", dir="/tmp") as folder:
        reverse_shell()
        ptrace_injection(word, address)
        memory_written_from_outside(word, address)
        writable_memory_executable()
        memfd_exec()
        dropped_and_run(folder)
        deletes_itself(folder)
        server_starts_shell()
        setuid_bit_set(folder)
        persistence_file_written()
        credentials_read()
        became_root()


if __name__ == "__main__":
    main()
