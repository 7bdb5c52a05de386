// Makes known system calls, and says which: the other half of tests/kernel.rs.
//
// It stops itself first, so that whoever looks is ready; then does what its first argument says. A line on standard output for each
// call: number, result, and the texts that were given, apart by tabs.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static long failed(long result) { return result < 0 ? -errno : result; }

static void say(long number, long result, const char *first, const char *second) {
    printf("%ld\t%ld\t%s\t%s\n", number, result, first, second);
}

static void opens(const char *path) { say(SYS_openat, failed(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0)), path, ""); }

static void sequence(void) {
    opens("/");
    opens("/nonexistent/file");
    say(SYS_openat, failed(syscall(SYS_openat, AT_FDCWD, 1L, O_RDONLY, 0)), "", "");
    static char longest[4096];
    memset(longest, 'a', sizeof longest - 1);
    opens(longest);
    say(SYS_renameat2, failed(syscall(SYS_renameat2, AT_FDCWD, "/nonexistent/a", AT_FDCWD, "/nonexistent/b", 0)),
        "/nonexistent/a", "/nonexistent/b");
    // The last byte of a page behind which nothing is.
    int socket4 = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(4711)};
    inet_pton(AF_INET, "127.0.0.1", &four.sin_addr);
    say(SYS_connect, failed(syscall(SYS_connect, socket4, &four, sizeof four)), "", "");
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    strcpy(local.sun_path, "/nonexistent/socket");
    int socket1 = socket(AF_UNIX, SOCK_STREAM, 0);
    say(SYS_connect, failed(syscall(SYS_connect, socket1, &local, sizeof local)), "", "");
    char *arguments[] = {"told", "one", "", "two words", NULL}, *environment[] = {NULL};
    say(SYS_execve, failed(syscall(SYS_execve, "/nonexistent/program", arguments, environment)), "/nonexistent/program", "");
    fflush(stdout);
    syscall(SYS_execve, "/bin/true", arguments, environment);
}

static int count, threads;

static void *many(void *of) {
    char path[64];
    for (int number = 0; number < count; number++) {
        snprintf(path, sizeof path, "/nonexistent/%ld/%d", (long)of, number);
        syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
    }
    return NULL;
}

static void in_threads(void) {
    pthread_t all[64];
    for (long number = 0; number < threads; number++) pthread_create(&all[number], NULL, many, (void *)number);
    for (long number = 0; number < threads; number++) pthread_join(all[number], NULL);
}

// Processes that make one call and are gone.
static void short_lived(void) {
    for (int number = 0; number < count; number++) {
        pid_t child = fork();
        if (child == 0) {
            char path[64];
            snprintf(path, sizeof path, "/nonexistent/%d", number);
            syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}

static void *executes(void *of) {
    (void)of;
    char *arguments[] = {"of a thread", NULL}, *environment[] = {NULL};
    syscall(SYS_execve, "/bin/true", arguments, environment);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    count = argc > 2 ? atoi(argv[2]) : 0;
    threads = argc > 3 ? atoi(argv[3]) : 0;
    raise(SIGSTOP);
    if (!strcmp(argv[1], "sequence")) sequence();
    if (!strcmp(argv[1], "threads")) in_threads();
    if (!strcmp(argv[1], "short")) short_lived();
    if (!strcmp(argv[1], "thread-exec")) {
        pthread_t thread;
        pthread_create(&thread, NULL, executes, NULL);
        pause();
    }
    return 0;
}
