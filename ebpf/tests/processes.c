// What processes do: the other half of tests/processes.rs. It stops itself first, so that whoever looks is ready; then does what its first
// argument says, and prints a line about each process that there was: its id and its status.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void tell(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    printf("%d %d\n", pid, status);
}

static void *lives(void *of) {
    for (long number = 0; number < (long)of; number++) {
        pid_t child = fork();
        if (child == 0) {
            if (number % 2) _exit((int)(number % 100));
            execl("/bin/true", "true", "of", "its", "life", NULL);
            _exit(127);
        }
        tell(child);
    }
    return NULL;
}

static void threads(long count) {
    pthread_t all[8];
    for (int number = 0; number < 8; number++) pthread_create(&all[number], NULL, lives, (void *)count);
    for (int number = 0; number < 8; number++) pthread_join(all[number], NULL);
}

static void *ends_with(void *status) {
    struct timespec while_the_first_ends = {.tv_nsec = 20000000};
    nanosleep(&while_the_first_ends, NULL);
    syscall(SYS_exit, (long)status);
    return NULL;
}

// The first thread ends, and another after it; or all at once.
static void last_threads(void) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t other;
        pthread_create(&other, NULL, ends_with, (void *)7);
        syscall(SYS_exit, 3);
    }
    tell(child);
    for (int number = 0; number < 200; number++) {
        child = fork();
        if (child == 0) {
            pthread_t others[4];
            for (int other = 0; other < 4; other++) pthread_create(&others[other], NULL, ends_with, (void *)0);
            ends_with((void *)0);
        }
        tell(child);
    }
}

static void *starts_a_program(void *program) {
    execl(program, program, "by a thread", NULL);
    return NULL;
}

static void by_thread(const char *program) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t other;
        pthread_create(&other, NULL, starts_a_program, (void *)program);
        pause();
    }
    tell(child);
}

// With descriptors, and so much time of a processor.
static void with_descriptors(long count) {
    pid_t child = fork();
    if (child == 0) {
        for (long number = 0; number < count; number++) socket(AF_UNIX, SOCK_STREAM, 0);
        dup2(0, 900);
        execl("/bin/sh", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", NULL);
        _exit(127);
    }
    tell(child);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    raise(SIGSTOP);
    if (!strcmp(argv[1], "threads")) threads(atol(argv[2]));
    if (!strcmp(argv[1], "last-threads")) last_threads();
    if (!strcmp(argv[1], "by-thread")) by_thread(argv[2]);
    if (!strcmp(argv[1], "descriptors")) with_descriptors(atol(argv[2]));
    return 0;
}
