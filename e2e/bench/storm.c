/*
 * One operation over and over, timed by the monotonic clock:
 *
 *   storm exec COUNT PROGRAM     spawn the program with a unique argument and wait for it
 *   storm open COUNT FILE        open, read 64 bytes, close
 *   storm connect COUNT ADDRESS  socket, connect to port 9 (nothing listens), close
 *
 * Prints "storm OPERATION COUNT LOOP_NS LATE_NS MEDIAN_NS PROBE_NS". LOOP_NS is the wall time of the loop, MEDIAN_NS
 * that of the median exec, which a machine that does other work disturbs less (0 for the others). With PROBE_PID in the environment
 * PROBE_NS is the CPU time that process used during the loop, and LATE_NS after it, until it came to rest: work that
 * the loop caused and did not wait for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DISCARD_PORT 9
/* At rest: less than this much CPU time in a step, three steps in a row. */
#define STEP_NS 20000000ULL
#define REST_NS 400000ULL
#define RESTING_STEPS 3
#define MAX_STEPS 3000

extern char **environ;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* CPU time of all threads, in ns; 0 where there is no such process. */
static uint64_t cpu_ns(const char *pid)
{
	char path[300];
	uint64_t sum = 0;
	snprintf(path, sizeof path, "/proc/%s/task", pid);
	DIR *tasks = opendir(path);
	if (!tasks)
		return 0;
	for (struct dirent *task; (task = readdir(tasks));) {
		unsigned long long ns;
		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, task->d_name);
		FILE *stat = fopen(path, "r");
		if (!stat)
			continue;
		if (fscanf(stat, "%llu", &ns) == 1)
			sum += ns;
		fclose(stat);
	}
	closedir(tasks);
	return sum;
}

static uint64_t late_ns(const char *pid)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	uint64_t start = cpu_ns(pid), last = start;
	int resting = 0;
	for (int n = 0; n < MAX_STEPS && resting < RESTING_STEPS; n++) {
		nanosleep(&step, NULL);
		uint64_t now = cpu_ns(pid);
		resting = now - last < REST_NS ? resting + 1 : 0;
		last = now;
	}
	return last - start;
}

static int exec_one(const char *program, int n)
{
	char token[32];
	int status;
	pid_t child;
	snprintf(token, sizeof token, "token-%d", n);
	char *arguments[] = {(char *)program, token, NULL};
	return posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0 &&
	       waitpid(child, &status, 0) == child && status == 0;
}

static int open_one(const char *path)
{
	char buffer[64];
	int file = open(path, O_RDONLY);
	if (file < 0)
		return 0;
	ssize_t got = read(file, buffer, sizeof buffer);
	close(file);
	return got >= 0;
}

static int connect_one(const struct sockaddr_in *to)
{
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	if (sock < 0)
		return 0;
	/* Refused: that somebody tried is the event. */
	connect(sock, (const struct sockaddr *)to, sizeof *to);
	close(sock);
	return 1;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
	int count = argc == 4 ? atoi(argv[2]) : 0;
	if (count <= 0) {
		fprintf(stderr, "usage: storm exec|open|connect COUNT PROGRAM|FILE|ADDRESS\n");
		return 2;
	}
	const char operation = argv[1][0], *what = argv[3];
	if (operation == 'c' && inet_pton(AF_INET, what, &to.sin_addr) != 1) {
		fprintf(stderr, "storm: %s is no IPv4 address\n", what);
		return 2;
	}
	/* Written to once: a page fault must not fall into the loop. */
	uint64_t *each = malloc((size_t)count * sizeof *each);
	if (!each)
		return 1;
	memset(each, 1, (size_t)count * sizeof *each);
	const char *probe = getenv("PROBE_PID");
	if (!probe)
		probe = "none";
	uint64_t probe_start = cpu_ns(probe), start = now_ns(), last = start;
	for (int n = 0; n < count; n++) {
		int done = operation == 'e'   ? exec_one(what, n)
			   : operation == 'o' ? open_one(what)
					      : connect_one(&to);
		if (!done) {
			perror(what);
			return 1;
		}
		/* Of the cheaper operations the clock would be a part of what is measured. */
		if (operation == 'e' || n == count - 1) {
			uint64_t now = now_ns();
			each[n] = now - last;
			last = now;
		}
	}
	uint64_t loop = last - start;
	uint64_t during = cpu_ns(probe) - probe_start, late = late_ns(probe);
	qsort(each, (size_t)count, sizeof *each, ascending);
	printf("storm %s %d %llu %llu %llu %llu\n", argv[1], count, (unsigned long long)loop, (unsigned long long)late,
	       (unsigned long long)(operation == 'e' ? each[count / 2] : 0), (unsigned long long)during);
	return 0;
}
