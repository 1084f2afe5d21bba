/* SPDX-License-Identifier: MIT */
/* bowimg, the program: the table of verbs, help, version, and the exit status. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bowimg.h"
#include "bowimg/cli/cli.h"
#include "bowimg/cli/guess.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/verbs.h"

#include "help.h" /* made from cli/help/<verb>.txt at build time */

struct command {
	const char *name;
	bow_verb_func *func;
	const char *brief;
	const char *usage;
	bool read_only; /* changes nothing, so that it may die when its reader goes away */
};

static const struct command commands[] = {
	{"prepare", bow_verb_prepare, "open a checkpoint: from now on everything can be undone",
	 help_prepare, false},
	{"status", bow_verb_status, "show the state of an image, and what can be done", help_status,
	 true},
	{"mount", bow_verb_mount, "mount the file system on an image, with undo", help_mount,
	 false},
	{"umount", bow_verb_umount, "unmount it and wait until everything is on disk", help_umount,
	 false},
	{"attach", bow_verb_attach, "offer the disk as a file or a loop device, with undo",
	 help_attach, false},
	{"detach", bow_verb_detach, "remove that file or loop device", help_detach, false},
	{"serve", bow_verb_serve, "serve the disk over NBD, with undo", help_serve, false},
	{"run", bow_verb_run, "run a command on the disk, then roll back or commit", help_run,
	 false},
	{"mark", bow_verb_mark, "mark the disk's state, so that a rollback can go there", help_mark,
	 false},
	{"list", bow_verb_list, "list what is attached, mounted and served", help_list, true},
	{"rollback", bow_verb_rollback, "bring the image back to what it was at prepare",
	 help_rollback, false},
	{"commit", bow_verb_commit, "keep the changes and end the checkpoint", help_commit, false},
	{"verify", bow_verb_verify, "check that a rollback would work, right now", help_verify,
	 true},
	{"diff", bow_verb_diff, "show what was changed since prepare, by range or by file",
	 help_diff, true},
	{"log", bow_verb_log, "list the log's entries, newest first", help_log, true},
	{"map", bow_verb_map, "print the free map as a ddrescue map", help_map, true},
	{"export", bow_verb_export, "write what was changed to a file, as undo or redo",
	 help_export, false},
	{"apply", bow_verb_apply, "apply such a file to an image, whole or not at all", help_apply,
	 false},
	{"rescue", bow_verb_rescue, "find a checkpoint whose first sector was lost", help_rescue,
	 false},
};

/* Words that people try first. */
static const struct {
	const char *name, *means;
} aliases[] = {{"undo", "rollback"}, {"info", "status"}};

#define N_ALIASES (sizeof(aliases) / sizeof(aliases[0]))
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_ALIASES; i++)
		if (strcmp(aliases[i].name, name) == 0)
			name = aliases[i].means;
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
	fputs("\nundo means rollback, and info means status.\n", out);
	fputs("\nbowimg VERB --help   the options of one verb (or: bowimg help VERB)\n"
	      "bowimg --version     the version (or: bowimg -V; also after a verb)\n"
	      "--output=json is another spelling of --json.\n\n"
	      "Exit status: 0 done, 1 failed, 2 usage, 3 wrong state, 4 busy or locked,\n"
	      "5 out of space, 6 damaged, 7 changed behind bowimg's back, 8 an interrupted\n"
	      "operation must be finished first, 9 unsupported. See bowimg(1).\n",
	      out);
}

/* These count anywhere before "--", so that they can be added to a line already typed. */
static bool asks_for(const char *name, const char *letter, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], name) == 0 || strcmp(argv[i], letter) == 0)
			return true;
	return false;
}

static int print_version(void)
{
	printf("bowimg %s\n", bowimg_version());
	return BOW_EXIT_DONE;
}

static int unknown_verb(const char *name)
{
	struct bow_guess guess = {.typed = name};

	for (size_t i = 0; i < N_COMMANDS; i++)
		bow_guess_try(&guess, commands[i].name);
	fputs("bowimg: unknown verb '", stderr);
	bow_cli_put(stderr, name);
	if (guess.best)
		fprintf(stderr, "'\n  did you mean 'bowimg %s'? see bowimg --help\n", guess.best);
	else
		fputs("'\n  see bowimg --help\n", stderr);
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
	/* bowimg rollback | head: half a rollback, or a disk that nobody serves to its end. */
	if (!command->read_only)
		signal(SIGPIPE, SIG_IGN);
	/* Messages and hints name the verb, and not its alias. */
	argv[0] = (char *)command->name;
	if (asks_for("--help", "-h", argc, argv)) {
		fputs(command->usage, stdout);
		return BOW_EXIT_DONE;
	}
	return asks_for("--version", "-V", argc, argv) ? print_version()
						       : command->func(argc, argv);
}

static int dispatch(int argc, char **argv)
{
	if (argc < 1) {
		print_overview(stderr);
		return BOW_EXIT_USAGE;
	}
	if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "-V") == 0)
		return print_version();
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		print_overview(stdout);
		return BOW_EXIT_DONE;
	}
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	const struct command *command = find_command(argv[0]);
	return command ? run_command(command, argc, argv) : unknown_verb(argv[0]);
}

/* bowimg must be able to use the directories and sockets that it makes. */
static void keep_own_permissions(void)
{
	umask(umask(0) & ~(mode_t)S_IRWXU);
}

/*
 * A standard stream that the caller has closed would be the next file that is opened: a report
 * would go into the image. What is put in its place fails as a closed one does.
 */
static void fill_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	fill_standard_streams();
	keep_own_permissions();
	/* A limit on the size of files is an error like others (EFBIG), and no reason to die. */
	signal(SIGXFSZ, SIG_IGN);
	int status = dispatch(argc - 1, argv + 1);

	/* A report that did not arrive is a failure: a script would act on half of it. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "bowimg: %scannot write to standard output: %s\n",
			status ? "" : "the command is done, but its report is incomplete: ",
			strerror(errno));
		status = status ? status : BOW_EXIT_FAILED;
	}
	bow_interrupt_die();
	return status;
}
