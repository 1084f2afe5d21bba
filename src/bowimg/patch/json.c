/* SPDX-License-Identifier: MIT */
/*
 * The JSON of a patch, to text and back. The text may be hostile: the caller bounds its size,
 * jansson its depth. Unknown keys are ignored, since a later version may write them; "incompat"
 * names those that must be understood.
 */
#include "bowimg/patch/patch.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, HASH_DIGITS = 16 };

/* ---- to text --------------------------------------------------------------------- */

static char *to_text(json_t *root)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}

static const char *direction_name(enum bow_patch_direction direction)
{
	return direction == BOW_PATCH_UNDO ? "undo" : "redo";
}

char *bow_patch_head_encode(const struct bow_patch_head *head)
{
	return to_text(json_pack("{s:s, s:i, s:[], s:[], s:s, s:I, s:i, s:b, s:s, s:s}", "format",
				 "bowimg-patch", "version", VERSION, "compat", "incompat",
				 "direction", direction_name(head->direction), "image-size",
				 (json_int_t)head->image_size, "block-size", (int)BOWIMG_BLOCK_SIZE,
				 "exact", head->exact, "checkpoint", head->checkpoint, "writer",
				 "bowimg " BOWIMG_VERSION));
}

static json_t *hash_text(uint64_t hash)
{
	char text[HASH_DIGITS + 1];

	snprintf(text, sizeof(text), "%016" PRIx64, hash);
	return json_string(text);
}

static json_t *run_object(const struct bow_patch_run *run)
{
	json_t *o = json_pack("{s:I, s:I, s:o, s:o}", "offset", (json_int_t)run->off, "length",
			      (json_int_t)run->bytes, "before",
			      run->any ? json_null() : hash_text(run->before), "after",
			      hash_text(run->after));

	if (o && run->zero && json_object_set_new(o, "zero", json_true())) {
		json_decref(o);
		return NULL;
	}
	return o;
}

char *bow_patch_piece_encode(const struct bow_patch_run *runs, unsigned n)
{
	json_t *array = json_array();

	for (unsigned i = 0; array && i < n; i++) {
		if (json_array_append_new(array, run_object(&runs[i]))) {
			json_decref(array);
			return NULL;
		}
	}
	return array ? to_text(json_pack("{s:o}", "runs", array)) : NULL;
}

char *bow_patch_end_encode(const struct bow_patch_totals *totals, uint64_t hash)
{
	return to_text(json_pack("{s:I, s:I, s:I, s:o}", "runs", (json_int_t)totals->runs,
				 "run-bytes", (json_int_t)totals->run_bytes, "data-bytes",
				 (json_int_t)totals->data_bytes, "hash", hash_text(hash)));
}

/* ---- and back -------------------------------------------------------------------- */

static int parse(const char *text, size_t bytes, json_t **root, struct bowimg_error *err)
{
	json_error_t why;

	*root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
	if (*root)
		return 0;
	if (json_error_code(&why) == json_error_out_of_memory)
		return bow_err_errno(err, -ENOMEM, "reading JSON");
	return bow_err(err, -EUCLEAN, "malformed JSON: %s at byte %d", why.text, why.position);
}

/* jansson's message about a value that is missing or has a wrong type. */
static int bad_value(const json_error_t *why, struct bowimg_error *err)
{
	return bow_err(err, -EUCLEAN, "%s", why->text);
}

static int parse_hash(const char *text, uint64_t *hash)
{
	*hash = 0;
	if (strlen(text) != HASH_DIGITS || strspn(text, "0123456789abcdef") != HASH_DIGITS)
		return -EUCLEAN;
	for (; *text; text++)
		*hash = *hash << 4 | (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
	return 0;
}

static const char *first_name(const json_t *list)
{
	const char *name = json_string_value(json_array_get(list, 0));

	return name ? name : "?";
}

static int check_format(json_t *root, struct bowimg_error *err)
{
	const char *format = json_string_value(json_object_get(root, "format"));
	const json_t *version = json_object_get(root, "version");
	const json_t *incompat = json_object_get(root, "incompat");

	if (!format || strcmp(format, "bowimg-patch") != 0)
		return bow_err(err, -EOPNOTSUPP, "this is no patch of bowimg");
	if (!json_is_integer(version) || !json_is_array(incompat))
		return bow_err(err, -EUCLEAN, "\"version\" or \"incompat\" is missing");
	if (json_integer_value(version) == VERSION && json_array_size(incompat) == 0)
		return 0;
	if (json_integer_value(version) != VERSION)
		bow_err(err, -EOPNOTSUPP, "version %lld of the format is not known",
			(long long)json_integer_value(version));
	else
		bow_err(err, -EOPNOTSUPP, "it needs the feature '%.40s'", first_name(incompat));
	bow_err_hint(err, "use the version of bowimg that wrote it, or a newer one");
	return -EOPNOTSUPP;
}

static int check_head(const char *direction, json_int_t size, json_int_t block,
		      const char *checkpoint, struct bow_patch_head *head, struct bowimg_error *err)
{
	if (strcmp(direction, "undo") == 0)
		head->direction = BOW_PATCH_UNDO;
	else if (strcmp(direction, "redo") == 0)
		head->direction = BOW_PATCH_REDO;
	else
		return bow_err(err, -EUCLEAN, "\"direction\" is neither undo nor redo");
	if (size < BOWIMG_MIN_SIZE || block != BOWIMG_BLOCK_SIZE)
		return bow_err(err, -EUCLEAN, "\"image-size\" or \"block-size\" is out of range");
	if (strlen(checkpoint) != sizeof(head->checkpoint) - 1 ||
	    strspn(checkpoint, "0123456789abcdef-") != sizeof(head->checkpoint) - 1)
		return bow_err(err, -EUCLEAN, "\"checkpoint\" is no UUID");
	head->image_size = (uint64_t)size;
	memcpy(head->checkpoint, checkpoint, sizeof(head->checkpoint));
	return 0;
}

int bow_patch_head_decode(const char *text, size_t bytes, struct bow_patch_head *head,
			  struct bowimg_error *err)
{
	const char *direction, *checkpoint;
	json_int_t size, block;
	json_error_t why;
	json_t *root;
	int exact, rc = parse(text, bytes, &root, err);

	if (rc)
		return rc;
	rc = check_format(root, err);
	if (!rc && json_unpack_ex(root, &why, 0, "{s:s, s:I, s:I, s:b, s:s}", "direction",
				  &direction, "image-size", &size, "block-size", &block, "exact",
				  &exact, "checkpoint", &checkpoint))
		rc = bad_value(&why, err);
	if (!rc)
		rc = check_head(direction, size, block, checkpoint, head, err);
	if (!rc)
		head->exact = exact;
	json_decref(root);
	return rc;
}

static int decode_run(json_t *object, struct bow_patch_run *run, struct bowimg_error *err)
{
	json_t *before;
	json_int_t off, bytes;
	const char *after;
	json_error_t why;
	int zero = 0;

	if (json_unpack_ex(object, &why, 0, "{s:I, s:I, s:o, s:s, s?b}", "offset", &off, "length",
			   &bytes, "before", &before, "after", &after, "zero", &zero))
		return bad_value(&why, err);
	if (off < 0 || bytes < 1 || bytes > BOW_PATCH_RUN_MAX)
		return bow_err(err, -EUCLEAN, "\"offset\" or \"length\" is out of range");
	*run = (struct bow_patch_run){.off = (uint64_t)off,
				      .bytes = (uint32_t)bytes,
				      .any = json_is_null(before),
				      .zero = zero};
	if (parse_hash(after, &run->after) ||
	    (!run->any &&
	     (!json_is_string(before) || parse_hash(json_string_value(before), &run->before))))
		return bow_err(err, -EUCLEAN, "\"before\" or \"after\" is no hash");
	return 0;
}

static int decode_runs(json_t *array, struct bow_patch_run *runs, unsigned *n,
		       struct bowimg_error *err)
{
	size_t count = json_array_size(array);
	int rc = 0;

	if (!json_is_array(array) || count < 1 || count > BOW_PATCH_PIECE_RUNS)
		return bow_err(err, -EUCLEAN, "\"runs\" is no list of 1 to %u runs",
			       BOW_PATCH_PIECE_RUNS);
	for (size_t i = 0; !rc && i < count; i++) {
		rc = decode_run(json_array_get(array, i), &runs[i], err);
		if (rc)
			bow_err_wrap(err, rc, "run %zu", i);
	}
	*n = (unsigned)count;
	return rc;
}

int bow_patch_piece_decode(const char *text, size_t bytes, struct bow_patch_run *runs, unsigned *n,
			   struct bowimg_error *err)
{
	json_t *root;
	int rc = parse(text, bytes, &root, err);

	if (rc)
		return rc;
	rc = decode_runs(json_object_get(root, "runs"), runs, n, err);
	json_decref(root);
	return rc;
}

int bow_patch_end_decode(const char *text, size_t bytes, struct bow_patch_totals *totals,
			 uint64_t *hash, struct bowimg_error *err)
{
	json_int_t runs, run_bytes, data_bytes;
	const char *hash_value;
	json_error_t why;
	json_t *root;
	int rc = parse(text, bytes, &root, err);

	if (rc)
		return rc;
	if (json_unpack_ex(root, &why, 0, "{s:I, s:I, s:I, s:s}", "runs", &runs, "run-bytes",
			   &run_bytes, "data-bytes", &data_bytes, "hash", &hash_value))
		rc = bad_value(&why, err);
	else if (parse_hash(hash_value, hash))
		rc = bow_err(err, -EUCLEAN, "\"hash\" is no hash");
	if (!rc)
		*totals = (struct bow_patch_totals){.runs = (uint64_t)runs,
						    .run_bytes = (uint64_t)run_bytes,
						    .data_bytes = (uint64_t)data_bytes};
	json_decref(root);
	return rc;
}
