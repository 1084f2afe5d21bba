/* SPDX-License-Identifier: MIT */
/* bowimg export: what the checkpoint changed, backwards or forwards, as a file for bowimg apply. */
#include "programs/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fronts/patch.h"
#include "fronts/process.h"

static const struct bow_cli_choice packs[] = {
	{"none", BOW_PATCH_NONE},
	{"gzip", BOW_PATCH_GZIP},
	{"xz", BOW_PATCH_XZ},
	{"zstd", BOW_PATCH_ZSTD},
	{NULL, 0},
};

static const struct bow_cli_choice suffixes[] = {
	{".tar", BOW_PATCH_NONE},  {".tar.gz", BOW_PATCH_GZIP},
	{".tgz", BOW_PATCH_GZIP},  {".tar.xz", BOW_PATCH_XZ},
	{".txz", BOW_PATCH_XZ},	   {".tar.zst", BOW_PATCH_ZSTD},
	{".tzst", BOW_PATCH_ZSTD}, {NULL, 0},
};

struct export
{
	struct bow_cli cli;
	const char *file;
	bool undo, redo;
	int pack, signal_fd;
	struct bow_patch_export_options opts;
};

static int pack_by_suffix(const char *file)
{
	size_t n = strlen(file);

	for (const struct bow_cli_choice *s = suffixes; s->name; s++)
		if (n > strlen(s->name) && strcmp(file + n - strlen(s->name), s->name) == 0)
			return s->value;
	return strcmp(file, "-") == 0 ? BOW_PATCH_NONE : 0;
}

static int check_options(struct export *e)
{
	if (e->undo == e->redo)
		return bow_cli_usage(&e->cli, "say which way: either --undo or --redo");
	if (!e->file || !e->file[0])
		return bow_cli_usage(&e->cli, "say where the patch goes: -o FILE, or -o - for "
					      "standard output");
	if (strcmp(e->file, "-") == 0 && isatty(STDOUT_FILENO))
		return bow_cli_usage(&e->cli, "a patch is not written to a terminal");
	if (!e->pack)
		e->pack = pack_by_suffix(e->file);
	if (!e->pack)
		return bow_cli_usage(&e->cli,
				     "the name '%s' does not say how to compress: it ends neither "
				     "in .tar nor in .tar.gz, .tar.xz, .tar.zst; or use --compress",
				     e->file);
	return 0;
}

static bool stop(void *ctx)
{
	const struct export *e = ctx;
	bool from_terminal;

	return bow_process_take_signal(e->signal_fd, &from_terminal) != 0;
}

/* There is a file to take away when a signal comes; else the signal may do what it does. */
static int catch_signals(struct export *e, const struct bow_patch_output *out,
			 struct bowimg_error *err)
{
	if (!out->temporary)
		return 0;
	e->signal_fd = bow_process_catch_signals(err);
	e->opts.common.stop = stop;
	e->opts.common.stop_ctx = e;
	return e->signal_fd < 0 ? e->signal_fd : 0;
}

/* Standard output may be the patch. */
static void say_done(struct export *e, const struct bow_patch_totals *t)
{
	bow_cli_clear_bar(&e->cli);
	if (e->cli.quiet)
		return;
	fprintf(stderr, "bowimg: %s: %s patch: %s in %" PRIu64 " runs, %s of them zeros\n",
		e->cli.operands[0], e->undo ? "undo" : "redo", bow_cli_human(t->run_bytes).text,
		t->runs, bow_cli_human(t->run_bytes - t->data_bytes).text);
}

static int export_to(struct export *e, struct bow_patch_output *out,
		     struct bow_patch_totals *totals, struct bowimg_error *err)
{
	int ret = catch_signals(e, out, err);

	if (!ret)
		ret = bow_patch_export(e->cli.operands[0], out->fd, &e->opts, totals, err);
	if (!ret)
		return bow_patch_output_finish(out, err);
	bow_patch_output_discard(out);
	return ret;
}

static int export(struct export *e)
{
	const char *image = e->cli.operands[0];
	struct bow_patch_output out;
	struct bow_patch_totals totals;
	struct bowimg_error err = {0};

	int ret = bow_patch_output_open(e->file, image, &out, &err);
	if (ret)
		return bow_cli_fail(&e->cli, ret, &err);
	ret = export_to(e, &out, &totals, &err);
	if (ret)
		return bow_cli_fail_image(&e->cli, image, ret, &err);
	say_done(e, &totals);
	return BOW_EXIT_DONE;
}

int bow_cmd_export(int argc, char **argv)
{
	struct export e = {0};
	const struct bow_cli_option options[] = {
		{"undo", 0, BOW_CLI_FLAG, &e.undo, 0, NULL},
		{"redo", 0, BOW_CLI_FLAG, &e.redo, 0, NULL},
		{"output", 'o', BOW_CLI_STRING, &e.file, 0, NULL},
		{"compress", 0, BOW_CLI_CHOICE, &e.pack, 0, packs},
		BOW_CLI_OPT_FORCE(&e.opts.force),
		BOW_CLI_OPT_QUIET(&e.cli),
		{0},
	};

	int status = bow_cli_parse(&e.cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&e.cli, 1, 1, "IMAGE");
	if (!status)
		status = check_options(&e);
	if (status)
		return status;
	bow_cli_ignore_sigpipe();
	e.opts.direction = e.undo ? BOW_PATCH_UNDO : BOW_PATCH_REDO;
	e.opts.pack = (enum bow_patch_pack)e.pack;
	e.opts.common.events = bow_cli_events(&e.cli);
	return export(&e);
}
