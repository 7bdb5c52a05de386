// Makes every system call of the table, and says what it was: the other half of tests/syscalls.rs.
//
// It stops itself first, so that whoever looks is ready. A line for each call, apart by tabs: name, result, and the fields that the event
// has to have.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static char fields[8192];

#define TOLD(...) snprintf(fields, sizeof fields, __VA_ARGS__)
#define CALL(name, ...)                                                                                              \
    do {                                                                                                             \
        long result = syscall(SYS_##name, __VA_ARGS__);                                                              \
        printf("%s\t%ld\t%s\n", #name, result < 0 ? -errno : result, fields);                                       \
    } while (0)

struct listening {
    int listener, port;
};

// A socket to which another one, bound to `peer` if that is given, has connected; and that one's port.
static struct listening listens(const void *address, socklen_t bytes, const void *peer, socklen_t peer_bytes) {
    int family = ((const struct sockaddr *)address)->sa_family;
    int listener = socket(family, SOCK_STREAM, 0), caller = socket(family, SOCK_STREAM, 0);
    struct sockaddr_storage bound;
    socklen_t bound_bytes = sizeof bound;
    if (bind(listener, address, bytes) || listen(listener, 1) || (peer && bind(caller, peer, peer_bytes)) ||
        getsockname(listener, (void *)&bound, &bound_bytes) || connect(caller, (void *)&bound, bound_bytes)) {
        perror("a socket that is connected to");
        exit(1);
    }
    bound_bytes = sizeof bound;
    getsockname(caller, (void *)&bound, &bound_bytes);
    // At the same place in both families.
    return (struct listening){listener, ntohs(((struct sockaddr_in *)&bound)->sin_port)};
}

int main(void) {
    const char *none = "/nonexistent/file", *other = "/nonexistent/other";
    char *arguments[] = {"told", "one", NULL}, *environment[] = {NULL};
    int udp = socket(AF_INET, SOCK_DGRAM, 0), udp6 = socket(AF_INET6, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(4711)};
    inet_pton(AF_INET, "127.0.0.1", &four.sin_addr);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un abstract = {.sun_family = AF_UNIX};
    memcpy(abstract.sun_path, "\0amoskys-told", 13);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // Three areas of which the last may be written, and never is; apart from others, as the kernel makes one of two that are beside each other.
    char *pages = mmap(NULL, 5 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    mprotect(pages + 4096, 4096, PROT_READ);
    mprotect(pages + 2 * 4096, 4096, PROT_READ | PROT_WRITE);
    int file = open("/proc/self/exe", O_RDONLY);
    int etc = open("/etc", O_PATH | O_DIRECTORY);
    char folder[] = "/tmp/amoskys-gone-XXXXXX";
    int gone = mkdtemp(folder) ? open(folder, O_PATH | O_DIRECTORY) : -1;
    rmdir(folder);
    if (chdir("/usr")) return 1;
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un here = {.sun_family = AF_UNIX}, there = {.sun_family = AF_UNIX};
    // Names of this process: others like it run beside it.
    socklen_t here_bytes = 2 + 1 + sprintf(here.sun_path + 1, "amoskys-listens-%d", getpid());
    socklen_t there_bytes = 2 + 1 + sprintf(there.sun_path + 1, "amoskys-peer-%d", getpid());
    struct listening listening4 = listens(&any4, sizeof any4, &any4, sizeof any4);
    struct listening listening6 = listens(&six, sizeof six, &six, sizeof six);
    struct listening listening_unix = listens(&here, here_bytes, &there, there_bytes);
    here.sun_path[1] = 'b';
    struct listening nameless = listens(&here, here_bytes, NULL, 0);
    struct iovec part = {.iov_base = page, .iov_len = 4};
    raise(SIGSTOP);

    TOLD("path=%s", none);
    CALL(execve, none, arguments, environment);
    TOLD("fd=-100\tpath=%s\tflags=AT_SYMLINK_NOFOLLOW", none);
    CALL(execveat, AT_FDCWD, none, arguments, environment, AT_SYMLINK_NOFOLLOW);
    TOLD("path=%s\tflags=O_RDWR|O_CREAT|O_TRUNC\tmode=384", none);
    CALL(openat, AT_FDCWD, none, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct open_how how = {.flags = O_RDONLY};
    TOLD("path=/\tflags=O_RDONLY\tmode=0");
    CALL(openat2, AT_FDCWD, "/", &how, sizeof how);
    struct open_how making = {.flags = O_WRONLY | O_CREAT, .mode = 0640};
    TOLD("path=%s\tflags=O_WRONLY|O_CREAT\tmode=416", none);
    CALL(openat2, AT_FDCWD, none, &making, sizeof making);
    // From where the program works and from a descriptor's directory; of one that is gone, as it was given.
    TOLD("path=/etc/shadow\trelative_path=../etc/./shadow\tflags=O_RDONLY\tmode=0");
    CALL(openat, AT_FDCWD, "../etc/./shadow", O_RDONLY, 0);
    TOLD("path=/etc/shadow\tflags=O_RDONLY\tmode=0");
    CALL(openat, AT_FDCWD, "/etc//./shadow", O_RDONLY, 0);
    TOLD("path=/etc/ssl/none\trelative_path=ssl/none\tflags=O_RDONLY\tmode=0");
    CALL(openat, etc, "ssl/none", O_RDONLY, 0);
    TOLD("path=none\tflags=O_RDONLY\tmode=0");
    CALL(openat, 1000000, "none", O_RDONLY, 0);
    TOLD("path=none\tflags=O_RDONLY\tmode=0");
    CALL(openat, gone, "none", O_RDONLY, 0);
    TOLD("fd=%d\taddress=127.0.0.1\tport=4711\taddress_family=inet", udp);
    CALL(connect, udp, &four, sizeof four);
    TOLD("fd=%d\taddress=::1\tport=0\taddress_family=inet6", udp6);
    CALL(bind, udp6, &six, sizeof six);
    TOLD("fd=%d\taddress=@amoskys-told\tport=0\taddress_family=unix", local);
    CALL(connect, local, &abstract, 2 + 13);
    TOLD("fd=%d", udp);
    CALL(accept, udp, NULL, NULL);
    // Who is told is not where the program asks for the address, which it need not.
    TOLD("fd=%d\taddress=127.0.0.1\tport=%d\taddress_family=inet", listening4.listener, listening4.port);
    CALL(accept, listening4.listener, NULL, NULL);
    TOLD("fd=%d\tflags=SOCK_CLOEXEC\taddress=::1\tport=%d\taddress_family=inet6", listening6.listener, listening6.port);
    CALL(accept4, listening6.listener, NULL, NULL, SOCK_CLOEXEC);
    TOLD("fd=%d\taddress=@amoskys-peer-%d\tport=0\taddress_family=unix", listening_unix.listener, getpid());
    CALL(accept, listening_unix.listener, NULL, NULL);
    TOLD("fd=%d\tport=0\taddress_family=unix", nameless.listener);
    CALL(accept, nameless.listener, NULL, NULL);
    TOLD("fd=%d\tflags=SOCK_NONBLOCK", udp);
    CALL(accept4, udp, NULL, NULL, SOCK_NONBLOCK);
    TOLD("fd=%d\tsize=4\taddress=127.0.0.1\tport=4711\taddress_family=inet", udp);
    CALL(sendto, udp, "text", 4, 0, &four, sizeof four);
    TOLD("command=PTRACE_ATTACH\ttarget_pid=1073741823\tstart_address=0");
    CALL(ptrace, PTRACE_ATTACH, 0x3fffffff, 0, 0);
    TOLD("target_pid=%d", getpid());
    CALL(process_vm_writev, getpid(), &part, 1, &part, 1, 0);
    TOLD("start_address=0\tsize=4096\tprotection=PROT_READ|PROT_EXEC\tflags=MAP_PRIVATE|MAP_ANONYMOUS\tfd=-1");
    CALL(mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TOLD("start_address=0\tsize=4096\tprotection=PROT_READ|PROT_WRITE|PROT_EXEC\tflags=MAP_PRIVATE\tfd=%d", file);
    CALL(mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, file, 0);
    // As every program maps its libraries: not told.
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    TOLD("start_address=%lu\tsize=4096\tprotection=PROT_READ|PROT_WRITE|PROT_EXEC\tprevious_protection=PROT_READ|PROT_WRITE\tpreviously_written=1",
         (unsigned long)page);
    CALL(mprotect, page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    TOLD("start_address=%lu\tsize=4096\tprotection=PROT_READ|PROT_EXEC\tprevious_protection=PROT_READ|PROT_WRITE|PROT_EXEC\tpreviously_written=1",
         (unsigned long)page);
    CALL(pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1);
    TOLD("start_address=%lu\tsize=12288\tprotection=PROT_EXEC\tprevious_protection=PROT_READ|PROT_WRITE", (unsigned long)pages);
    CALL(mprotect, pages, 3 * 4096, PROT_EXEC);
    TOLD("start_address=4096\tsize=4096\tprotection=PROT_EXEC");
    CALL(mprotect, 4096, 4096, PROT_EXEC);
    TOLD("path=told\tflags=MFD_CLOEXEC");
    CALL(memfd_create, "told", MFD_CLOEXEC);
    int memory = syscall(SYS_memfd_create, "mine", 0);
    TOLD("path=mine");
    printf("memfd_create\t%d\t%s\n", memory, fields);
    TOLD("path=%s\tflags=AT_REMOVEDIR", none);
    CALL(unlinkat, AT_FDCWD, none, AT_REMOVEDIR);
    TOLD("path=%s\tother_path=%s\tflags=RENAME_NOREPLACE", none, other);
    CALL(renameat2, AT_FDCWD, none, AT_FDCWD, other, 1);
    TOLD("path=%s\tother_path=%s", none, other);
    CALL(renameat, AT_FDCWD, none, AT_FDCWD, other);
    TOLD("fd=%d\tmode=2541", memory);
    CALL(fchmod, memory, 04755);
    TOLD("path=%s\tmode=2541", none);
    CALL(fchmodat, AT_FDCWD, none, 04755);
    TOLD("fd=%d\tnew_id=0", memory);
    CALL(fchown, memory, 0, 0);
    TOLD("path=%s\tnew_id=33", none);
    CALL(fchownat, AT_FDCWD, none, 33, 33, 0);
    TOLD("new_id=0");
    CALL(setuid, 0);
    CALL(setgid, 0);
    CALL(setreuid, -1, 0);
    CALL(setregid, -1, 0);
    CALL(setresuid, -1, 0, -1);
    CALL(setresgid, -1, 0, -1);
    CALL(setfsuid, 0);
    TOLD("fd=-1\tflags=CLONE_NEWNET");
    CALL(setns, -1, CLONE_NEWNET);
    TOLD("flags=CLONE_FS|CLONE_FILES");
    CALL(unshare, CLONE_FS | CLONE_FILES);
    TOLD("path=none\tother_path=%s\tflags=MS_NOSUID|MS_BIND", none);
    CALL(mount, "none", none, "tmpfs", MS_NOSUID | MS_BIND, NULL);
    TOLD("size=4\tpath=told=1");
    CALL(init_module, "none", 4, "told=1");
    TOLD("fd=-1\tpath=told=1");
    CALL(finit_module, -1, "told=1", 0);
    TOLD("command=BPF_OBJ_GET\tsize=0");
    CALL(bpf, 7, NULL, 0);
    TOLD("target_pid=%d\tsignal=0", getpid());
    CALL(kill, getpid(), 0);
    TOLD("command=PR_GET_DUMPABLE");
    CALL(prctl, 3, 0, 0, 0, 0);
    TOLD("size=0");
    CALL(io_uring_setup, 0, NULL);
#ifdef SYS_open
    TOLD("path=%s\tflags=O_WRONLY\tmode=0", none);
    CALL(open, none, O_WRONLY, 0);
    TOLD("path=%s\tmode=420", none);
    CALL(creat, none, 0644);
    TOLD("path=%s", none);
    CALL(unlink, none);
    TOLD("path=%s\tother_path=%s", none, other);
    CALL(rename, none, other);
    TOLD("path=%s\tmode=511", none);
    CALL(chmod, none, 0777);
    TOLD("path=%s\tnew_id=0", none);
    CALL(chown, none, 0, 0);
    CALL(lchown, none, 0, 0);
#endif
    fflush(stdout);
    execve("/bin/true", arguments, environment);
    return 1;
}
