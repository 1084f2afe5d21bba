/* SPDX-License-Identifier: MIT */
/* Starting the command of bowimg run, and its status in a shell's words. */
#include "programs/run_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "fronts/process.h"

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127, RUN_FAILED = 125, KILLED = 128 };

/* A copy of `text` with every {} replaced, or NULL. */
static char *replace_braces(const char *text, const char *disk)
{
	size_t count = 0, disk_bytes = strlen(disk);

	for (const char *p = text; (p = strstr(p, "{}")); p += 2)
		count++;
	char *out = malloc(strlen(text) + count * disk_bytes + 1);
	char *end = out;
	while (out && *text) {
		if (text[0] == '{' && text[1] == '}') {
			end = mempcpy(end, disk, disk_bytes);
			text += 2;
		} else {
			*end++ = *text++;
		}
	}
	if (out)
		*end = '\0';
	return out;
}

static void free_argv(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

static char **replace_all(char *const argv[], const char *disk)
{
	size_t count = 0;

	while (argv[count])
		count++;
	char **out = calloc(count + 1, sizeof(*out));
	for (size_t i = 0; out && i < count; i++) {
		out[i] = replace_braces(argv[i], disk);
		if (!out[i]) {
			free_argv(out);
			return NULL;
		}
	}
	return out;
}

static int status_of(int wstatus)
{
	return WIFSIGNALED(wstatus) ? KILLED + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
}

static int start_and_wait(struct bow_cli *cli, char **argv, int signal_fd, int *caught)
{
	struct bowimg_error err = {0};
	int wstatus = 0;

	pid_t pid = bow_process_spawn(argv, &err);
	if (pid < 0) {
		bow_cli_fail(cli, pid, &err);
		return pid == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
	}
	int ret = bow_process_wait(pid, signal_fd, &wstatus, caught, &err);
	return ret ? bow_cli_fail(cli, ret, &err) : status_of(wstatus);
}

int bow_run_command(struct bow_cli *cli, char *const argv[], const char *disk, int signal_fd,
		    int *caught)
{
	char **own = replace_all(argv, disk);

	if (!own || setenv("BOWIMG_DISK", disk, 1) < 0) {
		free_argv(own);
		bow_cli_error(cli, -ENOMEM, NULL, "running %s: out of memory", argv[0]);
		return RUN_FAILED;
	}
	int status = start_and_wait(cli, own, signal_fd, caught);
	free_argv(own);
	return status;
}
