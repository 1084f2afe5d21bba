/* SPDX-License-Identifier: MIT */
/*
 * bowimg run: attach, run a command, detach, then roll back, commit or keep.
 *
 * The command's status is ours. A command that succeeds although a signal came, and a service that
 * could not be set up, end in the failure policy like a command that fails.
 */
#include "programs/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fronts/memory.h"
#include "fronts/process.h"
#include "programs/run_command.h"
#include "programs/run_nbd.h"

enum { RUN_FAILED = 125 };
enum via { VIA_DEFAULT, VIA_LOOP, VIA_FUSE, VIA_NBD };
enum policy { POLICY_DEFAULT, POLICY_ROLLBACK, POLICY_COMMIT, POLICY_KEEP };

struct run {
	struct bow_cli *cli;
	const char *image;
	struct bow_serving serving;
	int via, on_success, on_failure;
	unsigned partition;
};

static const struct bow_cli_choice vias[] = {
	{"loop", VIA_LOOP},
	{"fuse", VIA_FUSE},
	{"nbd", VIA_NBD},
	{NULL, 0},
};

static const struct bow_cli_choice policies[] = {
	{"rollback", POLICY_ROLLBACK},
	{"commit", POLICY_COMMIT},
	{"keep", POLICY_KEEP},
	{NULL, 0},
};

/* A checkpoint that has changes already must not lose (or keep) them by a default. */
static int check_open_checkpoint(struct run *r, const struct bowimg_status *now)
{
	if (now->state != BOWIMG_STATE_CHECKPOINT)
		return bow_cli_error(r->cli, -EINPROGRESS, now->next, "%s: its state is %s",
				     r->image, bowimg_state_name(now->state));
	if (now->changed_bytes > 0 && (!r->on_success || !r->on_failure))
		return bow_cli_error(r->cli, -EBUSY,
				     "say what becomes of them, too: --on-success= and "
				     "--on-failure=, each rollback, commit or keep",
				     "%s was changed since its checkpoint was opened", r->image);
	return 0;
}

static int ensure_checkpoint(struct run *r, bool *opened)
{
	struct bowimg_prepare_options opts = {.events = bow_cli_events(r->cli)};
	struct bowimg_prepare_report report = {0};
	struct bowimg_status now = {0};
	struct bowimg_error err = {0};

	int ret = bowimg_status(r->image, r->serving.force, &now, &err);
	if (ret)
		return bow_cli_fail(r->cli, ret, &err);
	if (strcmp(now.format, "dm-bow") == 0)
		return bow_cli_error(r->cli, -EOPNOTSUPP, now.next,
				     "%s: it holds a checkpoint of the kernel's dm-bow, which "
				     "bowimg can only end",
				     r->image);
	if (now.state != BOWIMG_STATE_NONE)
		return check_open_checkpoint(r, &now);
	ret = bowimg_prepare(r->image, &opts, &report, &err);
	*opened = ret == 0;
	return ret ? bow_cli_fail(r->cli, ret, &err) : 0;
}

static void say(const struct run *r, const char *what)
{
	/* Standard output belongs to the command. */
	bow_cli_clear_bar(r->cli);
	if (!r->cli->quiet)
		fprintf(stderr, "bowimg: %s: %s\n", r->image, what);
}

static int apply(struct run *r, int policy)
{
	struct bowimg_end_options opts = {.force = r->serving.force,
					  .events = bow_cli_events(r->cli)};
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};
	int ret = 0;

	if (policy == POLICY_KEEP) {
		say(r, "the checkpoint stays open; end it with bowimg rollback or bowimg commit");
		return 0;
	}
	if (policy == POLICY_COMMIT)
		ret = bowimg_commit(r->image, &opts, &report, &err);
	else
		ret = bowimg_rollback(r->image, &opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(r->cli, r->image, ret, &err);
	say(r, policy == POLICY_COMMIT ? "committed" : "rolled back");
	return 0;
}

/* What became of the command: its status as a shell has it, and whether the disk is free again. */
struct outcome {
	int status;
	bool success, still_up;
};

static int serve_over_nbd(struct run *r, struct outcome *out)
{
	const struct bow_nbd_options opts = {
		.durability = (enum bowimg_durability)r->serving.durability,
		.force = r->serving.force,
		.partition = r->partition,
	};
	int caught = 0;

	int ret = bow_run_over_nbd(r->cli, r->image, &opts, &out->status, &caught);
	out->success = out->status == 0 && !caught;
	return ret;
}

static int serve_and_run(struct run *r, struct outcome *out)
{
	const struct bow_service_options opts = {
		.serve = bow_serving_options(r->cli, &r->serving),
		.loop = r->via == VIA_LOOP,
		.partition = r->partition,
	};
	char disk[PATH_MAX + 16];
	struct bow_service service;
	struct bowimg_error err = {0};
	int caught = 0;

	int ret = bow_service_start(&service, r->image, &opts, &err);
	if (ret)
		return bow_cli_fail(r->cli, ret, &err);
	bow_service_disk(&service, disk, sizeof(disk));
	out->status = bow_run_command(r->cli, r->cli->command, disk, service.signal_fd, &caught);
	out->success = out->status == 0 && !caught;
	ret = bow_serving_stop(r->cli, &service.entry);
	out->still_up = ret && bow_entry_alive(&service.entry);
	/* If it is still up, the daemon now waits for the disk's last user, and ends. */
	close(service.daemon.control);
	return ret;
}

static int run(struct run *r)
{
	struct outcome out = {.status = RUN_FAILED};
	bool opened = false;

	int ret = ensure_checkpoint(r, &opened);
	if (ret)
		return ret;
	int served = r->via == VIA_NBD ? serve_over_nbd(r, &out) : serve_and_run(r, &out);
	if (out.still_up)
		say(r, "the checkpoint stays open, since the disk is still in use");
	/* The command was not run at all: what was there before stays as it is. */
	if (out.still_up || (served && out.status == RUN_FAILED && !opened))
		return served;
	ret = apply(r, out.success && !served ? r->on_success ?: POLICY_ROLLBACK
					      : r->on_failure ?: POLICY_ROLLBACK);
	return served ? served : ret ? ret : out.status;
}

/* What cannot work is refused before anything is opened or run, with the status that says why. */
static int choose_via(struct run *r)
{
	struct bowimg_error err = {0};
	int ret = 0;

	if (r->via == VIA_NBD) {
		ret = bow_nbd_usable(&err);
	} else if (r->via == VIA_LOOP) {
		ret = bow_cgroup_refuse_limited(&err);
	} else if (r->via == VIA_DEFAULT) {
		bool loop = geteuid() == 0 && bow_loop_usable() && !bow_cgroup_refuse_limited(NULL);
		r->via = loop ? VIA_LOOP : VIA_FUSE;
	}
	return ret ? bow_cli_fail(r->cli, ret, &err) : 0;
}

int bow_cmd_run(int argc, char **argv)
{
	struct bow_cli cli = {.takes_command = true, .failure_status = RUN_FAILED};
	struct run r = {.cli = &cli, .serving = BOW_SERVING_DEFAULTS};
	const struct bow_cli_option options[] = {
		{"via", 0, BOW_CLI_CHOICE, &r.via, 0, vias},
		{"on-success", 0, BOW_CLI_CHOICE, &r.on_success, 0, policies},
		{"on-failure", 0, BOW_CLI_CHOICE, &r.on_failure, 0, policies},
		BOW_SERVING_OPT_PARTITION(&r.partition),
		BOW_CLI_OPT_DURABILITY(&r.serving.durability),
		BOW_CLI_OPT_FORCE(&r.serving.force),
		BOW_SERVING_OPT_STUCK_AFTER(&r.serving),
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 1, 1, "IMAGE -- COMMAND");
	if (!status && cli.command_count == 0)
		status = bow_cli_usage(&cli, "the command is missing: IMAGE -- COMMAND [ARG...]");
	if (!status)
		status = choose_via(&r);
	r.image = status ? NULL : cli.operands[0];
	return status ? status : run(&r);
}
