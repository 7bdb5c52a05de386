// Makes known numbers of system calls: the other half of tests/activity.rs, and of the benchmark.
//
// It stops itself first, so that whoever counts is ready; then does what its first argument says: `calls COUNT THREADS`, `short COUNT`,
// `sleeps COUNT`, `time COUNT`, which prints how many nanoseconds a call of getppid took.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOWHERE "/nonexistent/file"

static int count, threads;

// For twenty calls that succeed, one that fails.
static void *calls(void *of) {
    (void)of;
    for (int number = 0; number < count; number++) {
        syscall(SYS_getppid);
        if (number % 20 == 0) syscall(SYS_openat, AT_FDCWD, NOWHERE, O_RDONLY, 0);
    }
    return NULL;
}

static void in_threads(void) {
    pthread_t all[64];
    for (int number = 0; number < threads; number++) pthread_create(&all[number], NULL, calls, NULL);
    for (int number = 0; number < threads; number++) pthread_join(all[number], NULL);
}

// Processes that make two calls and are gone. Prints who they were.
static void short_lived(void) {
    for (int number = 0; number < count; number++) {
        pid_t child = fork();
        if (child == 0) {
            syscall(SYS_getppid);
            syscall(SYS_openat, AT_FDCWD, NOWHERE, O_RDONLY, 0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        printf("%d\n", child);
    }
}

static void sleeps(void) {
    struct timespec while_ns = {.tv_nsec = 20000000};
    for (int number = 0; number < count; number++) syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &while_ns, NULL);
    // One that there is not.
    syscall(100000);
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static void timed(void) {
    // The best of ten, as others take the processor as well.
    double best = 1e18;
    for (int turn = 0; turn < 10; turn++) {
        double begun = now_ns();
        for (int number = 0; number < count; number++) syscall(SYS_getppid);
        double took = (now_ns() - begun) / count;
        if (took < best) best = took;
    }
    printf("%.1f\n", best);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    count = argc > 2 ? atoi(argv[2]) : 0;
    threads = argc > 3 ? atoi(argv[3]) : 0;
    raise(SIGSTOP);
    if (!strcmp(argv[1], "calls")) in_threads();
    if (!strcmp(argv[1], "short")) short_lived();
    if (!strcmp(argv[1], "sleeps")) sleeps();
    if (!strcmp(argv[1], "time")) timed();
    return 0;
}
