/* SPDX-License-Identifier: MIT */
/*
 * bowimg run: attach, run a command, detach, then roll back, commit or keep.
 *
 * The command's status is ours. A command that succeeds although a signal came, and a service that
 * could not be set up, end in the failure policy like a command that fails.
 */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/host/process.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/report.h"
#include "bowimg/cli/typed.h"
#include "bowimg/cli/waiting.h"
#include "bowimg/cli/print/prepare.h"
#include "bowimg/cli/serving/command.h"
#include "bowimg/cli/serving/nbd.h"
#include "bowimg/cli/serving/options.h"
#include "bowimg/cli/serving/service.h"
#include "bowimg/cli/serving/via.h"

enum { RUN_FAILED = 125 };
#define WRITEBACK_BYTES (16ull << 20)
enum policy { POLICY_DEFAULT, POLICY_ROLLBACK, POLICY_COMMIT, POLICY_KEEP };

struct run {
	struct bow_cli *cli;
	const char *image;
	struct bow_serving serving;
	const char *to; /* the mark that a rollback goes to; NULL: prepare */
	int via, on_success, on_failure;
	bool success_statuses[BOW_CLI_STATUSES_MAX]; /* besides 0 */
	struct bowimg_end_report end;		     /* of the rollback or commit */
};

static const struct bow_cli_choice policies[] = {
	{"rollback", POLICY_ROLLBACK},
	{"commit", POLICY_COMMIT},
	{"keep", POLICY_KEEP},
	{NULL, 0},
};

static int refuse_changed(const struct run *r)
{
	char names[64], added[64];

	snprintf(added, sizeof(added), "%s%s", r->on_success ? "" : " --on-success=keep",
		 r->on_failure ? "" : " --on-failure=keep");
	char *command = bow_cli_typed(r->cli, added);
	int status =
		bow_cli_error(r->cli, -EBUSY, command,
			      "cannot run a command on %s: it has changes since %s%s; set both "
			      "--on-success and --on-failure (%s)",
			      r->image, r->to ? "the mark " : "prepare", r->to ?: "",
			      bow_cli_list(policies, names, sizeof(names)));
	free(command);
	return status;
}

/* What a rollback at the end would take back besides the command's changes. */
static int count_changes(const struct run *r, const struct bowimg_status *now, uint64_t *bytes)
{
	struct bowimg_mark mark = {.changed_bytes = now->changed_bytes};
	struct bowimg_error err = {0};
	int ret = r->to ? bow_mark_find(r->cli, r->serving.force, r->to, &mark, &err) : 0;

	*bytes = mark.changed_bytes;
	return ret ? bow_cli_fail(r->cli, ret, &err) : 0;
}

/* No default may roll back (or keep) changes that were there before. */
static int check_open_checkpoint(struct run *r, const struct bowimg_status *now)
{
	uint64_t changed_bytes;

	if (now->state != BOWIMG_STATE_CHECKPOINT)
		return bow_cli_error(r->cli, -EINPROGRESS, now->next,
				     "cannot run a command on %s: its state is %s", r->image,
				     bowimg_state_name(now->state));
	int status = count_changes(r, now, &changed_bytes);
	if (status)
		return status;
	if (changed_bytes > 0 && (!r->on_success || !r->on_failure))
		return refuse_changed(r);
	return 0;
}

static int refuse_no_marks(const struct run *r)
{
	struct bowimg_error hint = {0};

	bow_err_hint(&hint, "open one, and mark it: bowimg prepare %s", BOW_WORD(r->image));
	return bow_cli_error(
		r->cli, -ENODATA, hint.hint,
		"cannot run a command on %s: it has no checkpoint, and so no mark '%s'", r->image,
		r->to);
}

static int ensure_checkpoint(struct run *r, bool *opened)
{
	const struct bowimg_options call = bow_cli_call(r->cli, r->serving.force);
	struct bowimg_prepare_options opts = {.events = bow_cli_events(r->cli)};
	struct bowimg_prepare_report report = {0};
	struct bowimg_status now = {0};
	struct bowimg_error err = {0};

	int ret = bowimg_status(r->image, &call, &now, &err);
	if (ret)
		return bow_cli_fail(r->cli, ret, &err);
	if (strcmp(now.format, "dm-bow") == 0)
		return bow_cli_error(
			r->cli, -EOPNOTSUPP, now.next,
			"cannot run a command on %s: a checkpoint of the kernel's dm-bow can "
			"only be rolled back or committed",
			r->image);
	if (now.state != BOWIMG_STATE_NONE)
		return check_open_checkpoint(r, &now);
	if (r->to)
		return refuse_no_marks(r);
	ret = bowimg_prepare(r->image, &opts, &report, &err);
	*opened = ret == 0;
	if (ret)
		return bow_cli_fail(r->cli, ret, &err);
	bow_prepare_warn(r->cli, &report);
	return 0;
}

static void note(const struct run *r, const char *what)
{
	/* Standard output belongs to the command. */
	bow_cli_note(r->cli, "%s: %s", r->image, what);
}

/* A status other than 0 is named: by it the policy was chosen. */
static void note_end(const struct run *r, const char *what, int status)
{
	if (status)
		bow_cli_note(r->cli, "%s: %s; the command's status was %d", r->image, what, status);
	else
		note(r, what);
}

static int apply(struct run *r, int policy, int command_status)
{
	struct bowimg_end_options opts = {.force = r->serving.force,
					  .events = bow_cli_events(r->cli)};
	struct bowimg_error err = {0};
	int ret = 0;

	opts.to = policy == POLICY_ROLLBACK ? r->to : NULL;
	if (policy == POLICY_KEEP) {
		bow_cli_note(r->cli,
			     "%s: the checkpoint stays open; end it: bowimg rollback %s "
			     "(or commit)",
			     r->image, BOW_WORD(r->image));
		return 0;
	}
	if (policy == POLICY_COMMIT)
		ret = bowimg_commit(r->image, &opts, &r->end, &err);
	else
		ret = bowimg_rollback(r->image, &opts, &r->end, &err);
	if (ret)
		return bow_cli_fail_image(r->cli, r->image, ret, &err);
	if (opts.to)
		bow_cli_note(r->cli, "%s: rolled back to the mark '%s'", r->image, r->to);
	else
		note_end(r, policy == POLICY_COMMIT ? "committed" : "rolled back", command_status);
	return 0;
}

/* What became of the command: its status as a shell has it, and whether the disk is free again. */
struct outcome {
	int status;
	bool success, still_up;
};

static bool succeeded(const struct run *r, int status, int caught)
{
	return !caught && (status == 0 || r->success_statuses[status]);
}

static int serve_over_nbd(struct run *r, struct outcome *out)
{
	struct bow_nbd_options opts = bow_serving_by_nbd(&r->serving);
	int caught = 0;

	int ret = bow_run_over_nbd(r->cli, r->image, &opts, &out->status, &caught);
	out->success = succeeded(r, out->status, caught);
	return ret;
}

static int serve_and_run(struct run *r, struct outcome *out)
{
	struct bow_service_options opts = {
		.serve = bow_serving_by_fuse(r->cli, &r->serving),
		.loop = r->via == BOW_VIA_LOOP,
		.brief = true,
		.partition = r->serving.partition,
	};
	char disk[PATH_MAX + 16];
	struct bow_service service;
	struct bowimg_error err = {0};
	int caught = 0;

	/* A loop device has a cache of its own. The server and what it serves end together. */
	opts.serve.writeback_bytes = opts.loop ? 0 : WRITEBACK_BYTES;
	int ret = bow_service_start(&service, r->image, &opts, &err);
	if (ret)
		return bow_cli_fail(r->cli, ret, &err);
	bow_service_disk(&service, disk, sizeof(disk));
	out->status = bow_run_command(r->cli, disk, service.signal_fd, NULL, &caught);
	out->success = succeeded(r, out->status, caught);
	int lost = bow_service_let_go(&service, &err);
	ret = bow_serving_stop(r->cli, &service.session);
	out->still_up = ret && bow_session_alive(&service.session);
	/* If it is still up, the daemon now waits for the disk's last user, and ends. */
	close(service.daemon.sock);
	return ret || !lost ? ret : bow_cli_fail(r->cli, lost, &err);
}

static const char *name_of(const struct bow_cli_choice *choices, int value)
{
	while (choices->name && choices->value != value)
		choices++;
	return choices->name;
}

/* Standard output belongs to the command. */
static int print_json(const struct run *r, const struct outcome *out, int policy, bool opened)
{
	bool back = policy == POLICY_ROLLBACK;

	return bow_cli_report(r->cli,
			      json_pack("{s:s,s:b,s:i,s:b,s:s,s:s?,s:b,s:I,s:I}", "via",
					name_of(bow_vias, r->via), "opened", opened, "status",
					out->status, "success", out->success, "action",
					name_of(policies, policy), "to", back ? r->to : NULL,
					"exact", r->end.exact, "restored-bytes",
					(json_int_t)r->end.restored_bytes, "zeroed-bytes",
					(json_int_t)r->end.zeroed_bytes),
			      stderr);
}

static int run(struct run *r)
{
	struct outcome out = {.status = RUN_FAILED};
	bool opened = false;

	int ret = ensure_checkpoint(r, &opened);
	if (ret)
		return ret;
	int served = r->via == BOW_VIA_NBD ? serve_over_nbd(r, &out) : serve_and_run(r, &out);
	if (out.still_up)
		note(r, "the checkpoint stays open because the disk is still in use");
	/* The command was not run at all: what was there before stays as it is. */
	if (out.still_up || (served && out.status == RUN_FAILED && !opened))
		return served;
	int policy = (out.success && !served ? r->on_success : r->on_failure) ?: POLICY_ROLLBACK;
	ret = apply(r, policy, served ? 0 : out.status);
	if (r->cli->json && !served && !ret)
		ret = print_json(r, &out, policy, opened);
	return served ? served : ret ? ret : out.status;
}

int bow_verb_run(int argc, char **argv)
{
	struct bow_cli cli = {.takes_command = true, .failure_status = RUN_FAILED};
	struct run r = {.cli = &cli, .serving = BOW_SERVING_DEFAULTS};
	const struct bow_cli_option options[] = {
		{"via", 0, BOW_CLI_CHOICE, &r.via, 0, bow_vias},
		{"on-success", 0, BOW_CLI_CHOICE, &r.on_success, 0, policies},
		{"success-status", 0, BOW_CLI_STATUSES, r.success_statuses, 0, NULL},
		{"on-failure", 0, BOW_CLI_CHOICE, &r.on_failure, 0, policies},
		{"to", 0, BOW_CLI_STRING, &r.to, 0, NULL},
		BOW_SERVING_OPT_PARTITION(&r.serving),
		BOW_SERVING_OPTIONS(&cli, &r.serving),
		BOW_SERVING_OPT_STUCK_AFTER(&r.serving),
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	/* The report says it all: one line, which a script can find. */
	cli.quiet = cli.quiet || cli.json;
	if (!status && cli.command_count == 0)
		status =
			bow_cli_usage(&cli, "missing command; expected: IMAGE -- COMMAND [ARG...]");
	if (!status)
		status = bow_mark_check(&cli, "--to", r.to);
	if (!status)
		status = bow_run_check_command(&cli);
	if (!status)
		status = bow_via_choose(&cli, &r.via);
	r.image = status ? NULL : cli.image;
	return status ? status : run(&r);
}
