// What whole hosts do: the other half of tests/hosts.rs. It stops itself first, so that whoever looks is ready; then does what its
// first argument says, and prints a line about it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long count;
static struct {
    atomic_long forked, refused, opened;
} *shared;

static void opens(const char *path) { syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0); }

// Every process tries to make three more, until there were so many.
static void bomb(void) {
    for (int number = 0; number < 3 && atomic_load(&shared->forked) < count; number++) {
        pid_t child = fork();
        if (child < 0) {
            atomic_fetch_add(&shared->refused, 1);
            sched_yield();
            continue;
        }
        if (child == 0) {
            atomic_fetch_add(&shared->forked, 1);
            opens("/nonexistent/bomb");
            atomic_fetch_add(&shared->opened, 1);
            bomb();
            _exit(0);
        }
    }
    while (wait(NULL) > 0 || errno == EINTR) {}
}

static void *busy(void *of) {
    (void)of;
    prctl(PR_SET_NAME, "worker");
    for (long number = 0; number < count; number++) syscall(SYS_fchmodat, AT_FDCWD, "/nonexistent/busy", 0600, 0);
    return NULL;
}

static void two_threads(void) {
    struct timespec began, ended;
    pthread_t all[2];
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int number = 0; number < 2; number++) pthread_create(&all[number], NULL, busy, NULL);
    for (int number = 0; number < 2; number++) pthread_join(all[number], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%ld\n", (ended.tv_sec - began.tv_sec) * 1000000000l + ended.tv_nsec - began.tv_nsec);
}

// Two processes, one after the other, of one id.
static void reuse(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, NULL, 0);
    for (int number = 0; number < 2; number++) {
        struct clone_args how = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
        long child = syscall(SYS_clone3, &how, sizeof how);
        if (child == 0) {
            opens(number ? "/nonexistent/second" : "/nonexistent/first");
            _exit(0);
        }
        if (child > 0) waitpid(child, NULL, 0);
        printf("%ld\n", child);
    }
}

// As in a container: the first process of its own namespaces, and another user there.
static void inside(void) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)) {
        printf("refused %s\n", strerror(errno));
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        snprintf(path, sizeof path, "/nonexistent/inside/%d/%d", getpid(), getuid());
        opens(path);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("%d\n", child);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    count = argc > 2 ? atol(argv[2]) : 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    raise(SIGSTOP);
    if (!strcmp(argv[1], "bomb")) {
        bomb();
        printf("%ld %ld %ld\n", atomic_load(&shared->forked), atomic_load(&shared->refused), atomic_load(&shared->opened));
    }
    if (!strcmp(argv[1], "busy")) two_threads();
    if (!strcmp(argv[1], "reuse")) reuse();
    if (!strcmp(argv[1], "inside")) inside();
    return 0;
}
