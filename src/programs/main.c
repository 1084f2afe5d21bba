/* SPDX-License-Identifier: MIT */
/* bowimg, the program: the table of verbs, help, version, and the exit status. */
#include "programs/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "help.h" /* made from help/<verb>.txt at build time */

struct command {
	const char *name;
	bow_cmd_func *func;
	const char *brief;
	const char *usage;
};

static const struct command commands[] = {
	{"prepare", bow_cmd_prepare, "open a checkpoint: from now on everything can be undone",
	 help_prepare},
	{"status", bow_cmd_status, "say what state an image is in, and what can be done",
	 help_status},
	{"mount", bow_cmd_mount, "mount the file system on an image, with undo", help_mount},
	{"umount", bow_cmd_umount, "unmount it and wait until everything is on disk", help_umount},
	{"attach", bow_cmd_attach, "show the disk as a file or a loop device, with undo",
	 help_attach},
	{"detach", bow_cmd_detach, "take that file or loop device away again", help_detach},
	{"serve", bow_cmd_serve, "serve the disk over NBD, with undo", help_serve},
	{"run", bow_cmd_run, "run a command on the disk, then roll back or commit", help_run},
	{"rollback", bow_cmd_rollback, "bring the image back to what it was at prepare",
	 help_rollback},
	{"commit", bow_cmd_commit, "keep the changes and end the checkpoint", help_commit},
	{"verify", bow_cmd_verify, "check that a rollback would work, right now", help_verify},
	{"diff", bow_cmd_diff, "say what was changed since prepare, by range or by file",
	 help_diff},
	{"log", bow_cmd_log, "list the log's entries, newest first", help_log},
	{"map", bow_cmd_map, "print the free map as a ddrescue map", help_map},
	{"export", bow_cmd_export, "write what was changed to a file, as undo or redo",
	 help_export},
	{"apply", bow_cmd_apply, "apply such a file to an image, whole or not at all", help_apply},
	{"rescue", bow_cmd_rescue, "find a checkpoint whose sector 0 was lost", help_rescue},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void print_overview(FILE *out)
{
	fputs("usage: bowimg VERB [OPTIONS] IMAGE\n"
	      "Undo for disk images: prepare, change the disk through bowimg, then\n"
	      "roll back or commit.\n\n",
	      out);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].brief);
	fputs("\nbowimg VERB --help   the options of one verb (or: bowimg help VERB)\n"
	      "bowimg --version     the version\n\n"
	      "Exit status: 0 done, 1 failed, 2 usage, 3 wrong state, 4 busy or locked,\n"
	      "5 out of space, 6 damaged, 7 changed behind bowimg's back, 8 an interrupted\n"
	      "operation must be finished first, 9 unsupported. See bowimg(1).\n",
	      out);
}

/* "--help" counts anywhere before "--", so that it can be added to a line already typed. */
static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int unknown_verb(const char *name)
{
	fprintf(stderr, "bowimg: there is no verb '%s'\n  see bowimg --help\n", name);
	return BOW_EXIT_USAGE;
}

static int help(int argc, char **argv)
{
	if (argc < 2) {
		print_overview(stdout);
		return BOW_EXIT_DONE;
	}
	const struct command *command = find_command(argv[1]);
	if (!command)
		return unknown_verb(argv[1]);
	fputs(command->usage, stdout);
	return BOW_EXIT_DONE;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	if (!asks_for_help(argc, argv))
		return command->func(argc, argv);
	fputs(command->usage, stdout);
	return BOW_EXIT_DONE;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 1) {
		print_overview(stderr);
		return BOW_EXIT_USAGE;
	}
	if (strcmp(argv[0], "--version") == 0) {
		printf("bowimg %s\n", bowimg_version());
		return BOW_EXIT_DONE;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		print_overview(stdout);
		return BOW_EXIT_DONE;
	}
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	const struct command *command = find_command(argv[0]);
	return command ? run_command(command, argc, argv) : unknown_verb(argv[0]);
}

int main(int argc, char **argv)
{
	int status = dispatch(argc - 1, argv + 1);

	/* A report that did not arrive is a failure: a script would act on half of it. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "bowimg: writing to standard output: %s\n", strerror(errno));
		return status ? status : BOW_EXIT_FAILED;
	}
	return status;
}
