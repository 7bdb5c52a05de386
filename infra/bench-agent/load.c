/* Makes system calls at a rate, and says what they cost it: load KIND CALLS_PER_SECOND SECONDS. 0 calls per second: as many
 * as it can. KIND: getpid (which nobody looks at), chmod (of a file that is not there), exec (a process that runs
 * /bin/true, and its end), mix (what programs of a busy host do most, in turn; each tenth is such a chmod, the others the
 * agent does not look at where nobody asks for them). Prints calls, its CPU nanoseconds (its children's not among them) and
 * wall nanoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned long long now_ns(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int zeros, nowhere, events, datagrams, opened, nobody_waits;

/* Files and the like that the mix works on. */
static int prepare(void)
{
	zeros = open("/dev/zero", O_RDONLY);
	nowhere = open("/dev/null", O_WRONLY);
	events = epoll_create1(0);
	datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	return zeros >= 0 && nowhere >= 0 && events >= 0 && datagrams >= 0;
}

/* Twenty calls in turn: 4 read, 3 write, 2 futex, 2 epoll_wait, 2 clock_gettime, 2 chmod, and one each of getpid, newfstatat,
 * recvfrom, openat and close. */
static void mixed(unsigned long long number)
{
	char text[64] = "";
	struct epoll_event event;
	struct timespec time;
	struct stat file;
	switch (number % 20) {
	case 0: case 5: case 10: case 15: syscall(SYS_read, zeros, text, sizeof text); break;
	case 1: case 8: case 14: syscall(SYS_write, nowhere, text, sizeof text); break;
	case 2: case 12: syscall(SYS_futex, &nobody_waits, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); break;
	case 3: case 13: syscall(SYS_epoll_pwait, events, &event, 1, 0, NULL, 0); break;
	case 4: case 16: syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time); break;
	case 6: opened = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0); break;
	case 7: syscall(SYS_close, opened); break;
	case 11: syscall(SYS_newfstatat, AT_FDCWD, "/dev/null", &file, 0); break;
	case 17: syscall(SYS_recvfrom, datagrams, text, sizeof text, 0, NULL, NULL); break;
	case 18: syscall(SYS_getpid); break;
	default: chmod("/nonexistent/amoskys-bench", 0600);
	}
}

static void call(const char *kind, unsigned long long number)
{
	if (kind[0] == 'g') {
		syscall(SYS_getpid);
	} else if (kind[0] == 'm') {
		mixed(number);
	} else if (kind[0] == 'c') {
		chmod("/nonexistent/amoskys-bench", 0600);
	} else {
		pid_t child = vfork();
		if (child == 0) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(127);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
	}
}

int main(int count, char **words)
{
	if (count != 4 || (strcmp(words[1], "getpid") && strcmp(words[1], "chmod") && strcmp(words[1], "exec") &&
			   strcmp(words[1], "mix"))) {
		fprintf(stderr, "usage: load getpid|chmod|exec|mix CALLS_PER_SECOND SECONDS\n");
		return 2;
	}
	if (words[1][0] == 'm' && !prepare()) {
		perror("load: what the mix works on");
		return 1;
	}
	unsigned long long rate = strtoull(words[2], NULL, 10), span_ns = strtoull(words[3], NULL, 10) * 1000000000ull;
	unsigned long long began = now_ns(CLOCK_MONOTONIC), calls = 0, wall_ns = 0;
	while (wall_ns < span_ns) {
		/* What is due by now, a thousand at most before time is looked at again. */
		unsigned long long due = rate ? wall_ns * rate / 1000000000ull + 1 : calls + 1000;
		if (due > calls + 1000)
			due = calls + 1000;
		while (calls < due) {
			call(words[1], calls);
			calls++;
		}
		wall_ns = now_ns(CLOCK_MONOTONIC) - began;
		if (rate && wall_ns * rate / 1000000000ull < calls) {
			/* The next tick of a millisecond, or the next call where that is later. */
			unsigned long long next = calls * 1000000000ull / rate, tick = wall_ns + 1000000;
			struct timespec until;
			next = began + (next > tick ? next : tick);
			until.tv_sec = next / 1000000000ull;
			until.tv_nsec = next % 1000000000ull;
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
			wall_ns = now_ns(CLOCK_MONOTONIC) - began;
		}
	}
	printf("%llu %llu %llu\n", calls, now_ns(CLOCK_PROCESS_CPUTIME_ID), wall_ns);
	return 0;
}
