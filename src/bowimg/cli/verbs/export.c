/* SPDX-License-Identifier: MIT */
/* bowimg export: what the checkpoint changed, backwards or forwards, as a file for bowimg apply. */
#include "bowimg/cli/verbs.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bowimg/host/outfile.h"
#include "bowimg/patch/patch.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/marks.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/report.h"
#include "bowimg/cli/size.h"

static const struct bow_cli_choice packs[] = {
	{"none", BOW_PATCH_NONE},
	{"gzip", BOW_PATCH_GZIP},
	{"zstd", BOW_PATCH_ZSTD},
	{NULL, 0},
};

static const struct bow_cli_choice suffixes[] = {
	{".tar", BOW_PATCH_NONE},     {".tar.gz", BOW_PATCH_GZIP}, {".tgz", BOW_PATCH_GZIP},
	{".tar.zst", BOW_PATCH_ZSTD}, {".tzst", BOW_PATCH_ZSTD},   {NULL, 0},
};

struct export
{
	struct bow_cli cli;
	const char *file, *from;
	bool undo, redo;
	int pack;
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
	char names[128];

	if (e->undo == e->redo)
		return bow_cli_usage(&e->cli, "choose either --undo or --redo");
	if (!e->file || !e->file[0])
		return bow_cli_usage(&e->cli, "missing option: -o FILE (- is standard output)");
	if (strcmp(e->file, "-") == 0 && isatty(STDOUT_FILENO))
		return bow_cli_usage(&e->cli, "cannot write a patch to a terminal");
	if (strcmp(e->file, "-") == 0 && e->cli.progress_fd == STDOUT_FILENO)
		return bow_cli_usage(&e->cli,
				     "the patch and the progress cannot both go to descriptor 1");
	if (!e->pack)
		e->pack = pack_by_suffix(e->file);
	if (!e->pack)
		return bow_cli_usage(&e->cli,
				     "unknown suffix of '%s'; use one of: %s; or --compress",
				     e->file, bow_cli_list(suffixes, names, sizeof(names)));
	e->opts.mark = bow_mark_of(e->from);
	return bow_mark_check(&e->cli, "--from", e->opts.mark);
}

/* Standard output may be the patch. */
static void print_done(struct export *e, const struct bow_patch_totals *t)
{
	bow_cli_note(&e->cli, "%s: %s patch: %s in %" PRIu64 " runs, %s of them zeros",
		     e->cli.image, e->undo ? "undo" : "redo", bow_cli_human(t->run_bytes).text,
		     t->runs, bow_cli_human(t->run_bytes - t->data_bytes).text);
}

static int print_json(struct export *e, const struct bow_patch_totals *t)
{
	bool to_stdout = strcmp(e->file, "-") == 0;

	return bow_cli_report(&e->cli,
			      json_pack("{s:s,s:s?,s:o,s:I,s:I,s:I}", "direction",
					e->undo ? "undo" : "redo", "from", e->opts.mark, "file",
					bow_cli_json_text(e->file), "runs", (json_int_t)t->runs,
					"bytes", (json_int_t)t->run_bytes, "data-bytes",
					(json_int_t)t->data_bytes),
			      to_stdout ? stderr : stdout);
}

static int export_to(struct export *e, struct bow_outfile *out, struct bow_patch_totals *totals,
		     struct bowimg_error *err)
{
	int ret = bow_patch_export(e->cli.image, out->fd, &e->opts, totals, err);

	if (!ret)
		return bow_outfile_finish(out, err);
	bow_outfile_discard(out);
	return ret;
}

static int export(struct export *e)
{
	const char *image = e->cli.image;
	struct bow_outfile out;
	struct bow_patch_totals totals;
	struct bowimg_error err = {0};

	int ret = bow_outfile_open(e->file, image, &out, &err);
	if (ret)
		return bow_cli_fail(&e->cli, ret, &err);
	/* A reader that does not read would keep a signal waiting. */
	if (out.final)
		bow_interrupt_catch();
	ret = export_to(e, &out, &totals, &err);
	if (ret)
		return bow_cli_fail_image(&e->cli, image, ret, &err);
	if (e->cli.json)
		return print_json(e, &totals);
	print_done(e, &totals);
	return BOW_EXIT_DONE;
}

int bow_verb_export(int argc, char **argv)
{
	struct export e = {0};
	const struct bow_cli_option options[] = {
		{"undo", 0, BOW_CLI_FLAG, &e.undo, 0, NULL},
		{"redo", 0, BOW_CLI_FLAG, &e.redo, 0, NULL},
		{"output", 'o', BOW_CLI_STRING, &e.file, 0, NULL},
		{"from", 0, BOW_CLI_STRING, &e.from, 0, NULL},
		{"compress", 0, BOW_CLI_CHOICE, &e.pack, 0, packs},
		BOW_CLI_OPT_FORCE(&e.opts.force),
		BOW_CLI_OPT_JSON(&e.cli),
		BOW_CLI_OPT_QUIET(&e.cli),
		BOW_CLI_OPT_PROGRESS_FD(&e.cli),
		{0},
	};

	int status = bow_cli_parse(&e.cli, argc, argv, options, "IMAGE");
	if (!status)
		status = check_options(&e);
	if (status)
		return status;
	e.opts.direction = e.undo ? BOW_PATCH_UNDO : BOW_PATCH_REDO;
	e.opts.pack = (enum bow_patch_pack)e.pack;
	e.opts.events = bow_cli_events(&e.cli);
	return export(&e);
}
