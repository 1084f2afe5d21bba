/* SPDX-License-Identifier: MIT */
/*
 * For the tests: what a command may cost at most.
 *
 *	cost MIB SECONDS COMMAND...	exits as it does, or with 97 (memory), 98 (time) or 96 (I/O)
 *
 * Measured are the resident memory of the command or the largest of its children, the processor
 * time that they spend in their own code, and the bytes that they ask the kernel to read and write:
 * 4 GiB for each of the seconds are allowed. The kernel's own time is not counted, because it says
 * more about the machine (memory that a hypervisor has yet to find) than about the command. A
 * command that goes far beyond its time is killed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE 4u	 /* killed after so many times its seconds, the kernel's time included */
#define GIB_A_SECOND 4.0 /* holes are read from memory */

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static int run(char **argv, double most)
{
	const rlim_t cpu = (rlim_t)(most * GRACE) + 1;
	const struct rlimit limit = {cpu, cpu};

	setrlimit(RLIMIT_CPU, &limit);
	execvp(argv[0], argv);
	perror(argv[0]);
	return 127;
}

/* What a process that ended, but was not waited for, and its children read and wrote, in GiB. */
static double moved(pid_t pid)
{
	uint64_t in = 0, out = 0;
	char path[64];
	FILE *f;
	int n;

	snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	n = fscanf(f, "rchar: %" SCNu64 "\nwchar: %" SCNu64, &in, &out);
	fclose(f);
	return n == 2 ? ((double)in + (double)out) / (1u << 30) : -1;
}

int main(int argc, char **argv)
{
	double most_mib, most_s, mib, s, gib;
	struct rusage used;
	siginfo_t info;
	int status;
	pid_t pid;

	if (argc < 4)
		return 2;
	most_mib = strtod(argv[1], NULL);
	most_s = strtod(argv[2], NULL);
	pid = fork();
	if (pid == 0)
		_exit(run(argv + 3, most_s));
	if (pid < 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0) {
		perror("cost");
		return 99;
	}
	gib = moved(pid);
	if (gib < 0 || waitpid(pid, &status, 0) < 0 || getrusage(RUSAGE_CHILDREN, &used) < 0) {
		perror("cost");
		return 99;
	}
	mib = (double)used.ru_maxrss / 1024;
	s = seconds(&used.ru_utime);
	fprintf(stderr, "cost: %.0f of %.0f MiB, %.2f (kernel %.2f) of %.2f s, %.3f of %.3f GiB\n",
		mib, most_mib, s, seconds(&used.ru_stime), most_s, gib, most_s * GIB_A_SECOND);
	if (mib > most_mib)
		return 97;
	if (s > most_s || !WIFEXITED(status))
		return 98;
	if (gib > most_s * GIB_A_SECOND)
		return 96;
	return WEXITSTATUS(status);
}
