/* Makes system calls at a rate, and says what they cost it: load KIND CALLS_PER_SECOND SECONDS. 0 calls per second: as many
 * as it can. KIND: getpid (which nobody looks at), chmod (of a file that is not there), exec (a process that runs
 * /bin/true, and its end). Prints calls, its CPU nanoseconds (its children's not among them) and wall nanoseconds.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void call(const char *kind)
{
	if (kind[0] == 'g') {
		syscall(SYS_getpid);
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
	if (count != 4 || (strcmp(words[1], "getpid") && strcmp(words[1], "chmod") && strcmp(words[1], "exec"))) {
		fprintf(stderr, "usage: load getpid|chmod|exec CALLS_PER_SECOND SECONDS\n");
		return 2;
	}
	unsigned long long rate = strtoull(words[2], NULL, 10), span_ns = strtoull(words[3], NULL, 10) * 1000000000ull;
	unsigned long long began = now_ns(CLOCK_MONOTONIC), calls = 0, wall_ns = 0;
	while (wall_ns < span_ns) {
		/* What is due by now, a thousand at most before time is looked at again. */
		unsigned long long due = rate ? wall_ns * rate / 1000000000ull + 1 : calls + 1000;
		if (due > calls + 1000)
			due = calls + 1000;
		while (calls < due) {
			call(words[1]);
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
