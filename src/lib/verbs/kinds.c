/* SPDX-License-Identifier: MIT */
/* The list of all kinds of checkpoints, and the refusal of what a kind cannot do. */
#include "lib/verbs/kinds.h"

#include <string.h>

#include "lib/dmbow/dmbow.h"
#include "lib/own/own.h"

/* In the order in which they are asked. */
static const struct bow_checkpoint_kind *const kinds[] = {&bow_own_kind, &bow_dmbow_kind};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Ask one kind after the other, until one knows the image. */
static int ask_all(struct bowimg_disk *dev, bool tail, struct bow_identity *id,
		   struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < KINDS && !rc && id->state == BOWIMG_STATE_NONE; i++) {
		bow_identify_operation *identify = tail ? kinds[i]->identify_tail
							: kinds[i]->identify;

		id->kind = kinds[i];
		rc = identify ? identify(dev, id, err) : 0;
	}
	return rc;
}

int bow_identify(struct bowimg_disk *dev, struct bow_identity *id, struct bowimg_error *err)
{
	int rc = bow_disk_read_first(dev, err);

	memset(id, 0, sizeof(*id));
	if (!rc)
		rc = ask_all(dev, false, id, err);
	if (!rc && id->state == BOWIMG_STATE_NONE)
		rc = ask_all(dev, true, id, err);
	if (id->state == BOWIMG_STATE_NONE)
		id->kind = &bow_own_kind;
	return rc;
}

static int refuse(const struct bow_checkpoint_kind *kind, const char *verb,
		  struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"cannot %s it: it holds a checkpoint of %s, which bowimg can only end", verb,
		kind->owner);
	bow_err_hint(err, "'bowimg rollback' brings back what was there when that checkpoint "
			  "began, 'bowimg commit' keeps what is there now");
	return -EOPNOTSUPP;
}

/* Call an operation that the kind may lack; the verb is for "cannot <verb> it". */
#define ASK(of, operation, verb, ...)                                    \
	((of)->kind->operation ? (of)->kind->operation(__VA_ARGS__, err) \
			       : refuse((of)->kind, verb, err))

int bow_kind_serve(struct bow_opened *o, const struct bowimg_open_options *opts,
		   struct bowimg_disk **out, struct bowimg_error *err)
{
	return ASK(o, serve, "serve", o, opts, out);
}

int bow_kind_view(struct bow_opened *o, struct bowimg_disk **out, struct bowimg_error *err)
{
	return ASK(o, view, "view", o, out);
}

int bow_kind_free_map(const struct bow_opened *o, const struct bow_bitmap **out,
		      struct bowimg_error *err)
{
	return ASK(o, free_map, "show the free map of", o, out);
}

int bow_kind_partitions(struct bow_opened *o,
			int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			struct bowimg_error *err)
{
	return ASK(o, partitions, "show the partitions of", o, partition, ctx);
}

int bow_kind_mark(struct bow_opened *o, const char *name, struct bowimg_mark *made,
		  struct bowimg_error *err)
{
	return ASK(o, mark, "mark", o, name, made);
}

int bow_kind_unmark(struct bow_opened *o, const char *name, struct bowimg_error *err)
{
	return ASK(o, unmark, "change the marks of", o, name);
}

int bow_kind_marks(struct bow_opened *o, int (*mark)(void *ctx, const struct bowimg_mark *m),
		   void *ctx, struct bowimg_error *err)
{
	return ASK(o, marks, "show the marks of", o, mark, ctx);
}

int bow_kind_refuse_prepare(const struct bow_identity *id, struct bowimg_error *err)
{
	return ASK(id, refuse_prepare, "prepare", id);
}

int bow_kind_refuse_rescue(const struct bow_identity *id, struct bowimg_error *err)
{
	return ASK(id, refuse_rescue, "rescue", id);
}
