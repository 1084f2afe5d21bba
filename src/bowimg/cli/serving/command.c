/* SPDX-License-Identifier: MIT */
/* Starting the command of bowimg run, and its status in a shell's words. */
#include "bowimg/cli/serving/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bowimg/host/process.h"
#include "bowimg/cli/message.h"

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

/* As execvp(3) looks, whose list may have relative directories. */
static bool is_in_path(const char *name)
{
	const char *dirs = getenv("PATH") ?: "/bin:/usr/bin";
	char path[PATH_MAX];

	for (size_t bytes; *dirs; dirs += bytes + (dirs[bytes] == ':')) {
		bytes = strcspn(dirs, ":");
		if (snprintf(path, sizeof(path), "%.*s/%s", bytes ? (int)bytes : 1,
			     bytes ? dirs : ".", name) < (int)sizeof(path) &&
		    access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* A program that is not there is not worth a checkpoint. */
int bow_run_check_command(struct bow_cli *cli)
{
	const char *name = cli->command[0];
	struct bowimg_error err = {0};

	if (strchr(name, '/') || strstr(name, "{}") || is_in_path(name))
		return 0;
	bow_process_refuse_missing(name, -ENOENT, &err);
	bow_cli_fail(cli, -ENOENT, &err);
	return NOT_FOUND;
}

static int status_of(int wstatus)
{
	return WIFSIGNALED(wstatus) ? KILLED + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
}

static int start_and_wait(struct bow_cli *cli, char **argv, int signal_fd,
			  struct bow_process_aside *aside, int *caught)
{
	struct bowimg_error err = {0};
	int wstatus = 0;

	pid_t pid = bow_process_spawn_bound(argv, &err);
	if (pid < 0) {
		bow_cli_fail(cli, pid, &err);
		return pid == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
	}
	int ret = bow_process_wait_beside(pid, signal_fd, aside, &wstatus, caught, &err);
	return ret ? bow_cli_fail(cli, ret, &err) : status_of(wstatus);
}

int bow_run_command(struct bow_cli *cli, const char *disk, int signal_fd,
		    struct bow_process_aside *aside, int *caught)
{
	char **own = replace_all(cli->command, disk);

	if (!own || setenv("BOWIMG_DISK", disk, 1) < 0) {
		free_argv(own);
		bow_cli_error(cli, -ENOMEM, NULL, "cannot run %s: out of memory", cli->command[0]);
		return RUN_FAILED;
	}
	int status = start_and_wait(cli, own, signal_fd, aside, caught);
	free_argv(own);
	return status;
}
