/* SPDX-License-Identifier: MIT */
/*
 * The free map of a partitioned disk: the union over its partitions. Each is read into a map of its
 * own, of which only what lies inside the partition counts, whatever the file system says of its
 * size. Between partitions everything is used.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/base/stop.h"
#include "lib/disk/hint.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/fs/kinds.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)

struct disk {
	const struct bow_freemap_job *job;
	const struct bow_contents *contents;
	struct bow_bitmap *out;
	struct bow_freemap_info *info;
	bool known; /* a source has read something */
};

static void describe(const struct bow_contents *contents, const struct bow_content *c,
		     struct bowimg_partition *out)
{
	*out = (struct bowimg_partition){
		.number = c->part->number, .off = c->off, .bytes = c->bytes};
	snprintf(out->table, sizeof(out->table), "%s", contents->table.kind);
	snprintf(out->type, sizeof(out->type), "%s", c->part->type);
	snprintf(out->name, sizeof(out->name), "%s", c->part->name);
	snprintf(out->content, sizeof(out->content), "%s", c->found.type);
	for (char *at = out->name; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && !strcmp(text + n - k, end);
}

/*
 * Other systems use partitions of these types as pieces of larger volumes. A file system that seems
 * to begin there may reach into another disk, or be one half of a mirror.
 */
static const char *why_pooled(const char *type)
{
	static const struct {
		const char *type, *why;
	} types[] = {
		{"0x42", "it is part of a Windows dynamic disk"},
		{"af9b60a0-1431-4f62-bc68-3311714a69ad", "it is part of a Windows dynamic disk"},
		{"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "it is part of a Windows dynamic disk"},
		{"e75caf8f-f680-4cee-afa3-b001e56efc2d", "it is part of a Windows storage pool"},
		{"53746f72-6167-11aa-aa11-00306543ecac", "it is part of an Apple CoreStorage"},
		{"52414944-0000-11aa-aa11-00306543ecac", "it is part of an Apple RAID"},
		{"52414944-5f4f-11aa-aa11-00306543ecac", "it is part of an Apple RAID"},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcasecmp(types[i].type, type))
			return types[i].why;
	return NULL;
}

/* Why this content, which is no file system, counts as used; or NULL. */
static const char *why_opaque(const char *content)
{
	if (!strcmp(content, "swsuspend"))
		return "it holds the memory of a hibernated machine";
	if (!strcmp(content, "LVM2_member") || !strcmp(content, "LVM1_member"))
		return "it is part of an LVM volume group";
	if (!strcmp(content, "crypto_LUKS") || !strcmp(content, "BitLocker"))
		return "it is encrypted";
	return ends_in(content, "_member") ? "it is part of an array or pool" : NULL;
}

/* The reason alone: the table of partitions already names the image and the partition. */
static void why_not(struct bowimg_partition *p, const struct bowimg_error *err)
{
	const char *text = err->message, *at = strstr(text, "read the free map: ");

	if (at)
		text = at + strlen("read the free map: ");
	else if ((at = strstr(text, "): ")))
		text = at + strlen("): ");
	snprintf(p->why_not, sizeof(p->why_not), "%.191s", text);
}

/* A source that reads one kind of file system reads no other. */
static bool is_of_kind(const struct bow_source *source, const char *content)
{
	const struct bow_fs_kind *kind = bow_fs_find(content);

	return !source->type || (kind && kind->read == bow_fs_find(source->type)->read);
}

/*
 * A hibernated machine goes on with what it has mounted. All file systems but btrfs show that they
 * are mounted.
 */
static bool may_be_in_use(const struct disk *d, const struct bow_content *c)
{
	bool asleep = false;

	for (uint32_t i = 0; i < d->contents->count; i++)
		asleep |= !strcmp(d->contents->list[i].found.type, "swsuspend");
	return asleep && !strcmp(c->found.type, "btrfs");
}

static int read_volume(const struct disk *d, const struct bow_content *c, struct bow_bitmap *map,
		       struct bow_freemap_info *info, struct bowimg_error *err)
{
	const char *pooled = why_pooled(c->part->type),
		   *opaque = pooled ? pooled : why_opaque(c->found.type);

	if (c->claimed[0])
		return bow_err(err, -EOPNOTSUPP, "%s", c->claimed);
	if (may_be_in_use(d, c))
		return bow_err(err, -EOPNOTSUPP,
			       "a machine that is hibernated on this disk may use it");
	if (opaque)
		return bow_err(err, -EOPNOTSUPP, "%s", opaque);
	if (!is_of_kind(&d->job->source, c->found.type))
		return bow_err(err, -EOPNOTSUPP, "it is no %s", d->job->source.reads);
	return bow_freemap_volume(d->job, c, map, info, err);
}

/* Add to d->out the part of the map that lies inside the partition. */
static int join(const struct disk *d, struct bowimg_partition *p, const struct bow_bitmap *map,
		struct bowimg_error *err)
{
	uint64_t start = bow_div_up(p->off, BLOCK), end = (p->off + p->bytes) / BLOCK, n;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(map, &start, &n, end); start += n) {
		rc = bow_bitmap_set(d->out, start, n);
		p->free_bytes += n * BLOCK;
	}
	return rc ? bow_err_errno(err, rc, "%s: keep the free map", d->job->dev->name) : 0;
}

/* Append a source, as in "ext+swap"; one that does not fit is left out. */
static void note_source(struct bow_freemap_info *info, const char *source)
{
	size_t used = strlen(info->source), bytes = strlen(source);
	const char *known = strstr(info->source, source);

	if (known && (known[bytes] == '+' || !known[bytes]))
		return;
	if (used + bytes + 2 > sizeof(info->source))
		return;
	if (used)
		info->source[used++] = '+';
	memcpy(info->source + used, source, bytes + 1);
}

/* The command in the hint needs a device. */
static int refuse(const struct bowimg_disk *image, const struct bowimg_partition *p, int rc,
		  struct bowimg_error *why, struct bowimg_error *err)
{
	bow_hint_finish(why, image, p->off, p->bytes);
	if (err)
		*err = *why;
	return bow_err_wrap(err, rc, "partition %u", p->number);
}

static int read_map(struct disk *d, const struct bow_content *c, struct bowimg_partition *p,
		    struct bow_bitmap *map, struct bowimg_error *err)
{
	struct bow_freemap_info info = {0};
	struct bowimg_error why = {0};
	int rc = read_volume(d, c, map, &info, &why);

	if (rc == -EOPNOTSUPP) {
		why_not(p, &why);
		return 0;
	}
	if (rc)
		return refuse(d->job->dev, p, rc, &why, err);
	d->known = true;
	snprintf(p->source, sizeof(p->source), "%s", info.source);
	note_source(d->info, info.source);
	d->info->fs_free_bytes += info.fs_free_bytes;
	if (info.only_exact)
		d->info->only_exact = info.only_exact;
	return join(d, p, map, err);
}

static int read_partition(struct disk *d, const struct bow_content *c, struct bowimg_partition *p,
			  struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_bitmap_bits(d->out));
	int rc;

	if (!map)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", d->job->dev->name);
	rc = read_map(d, c, p, map, err);
	bow_bitmap_free(map);
	return rc;
}

/* The named source could read no partition. */
static int refuse_source(const struct disk *d, const struct bowimg_partition *last,
			 struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: no partition by source \"%s\"%s%s",
		d->job->dev->name, d->job->source.name, last->why_not[0] ? ": " : "",
		last->why_not);
	bow_err_hint(err, "bowimg prepare -n without --free-from shows what can be read");
	return -EOPNOTSUPP;
}

static int read_all(struct disk *d, struct bowimg_error *err)
{
	const struct bow_freemap_options *opts = d->job->opts;
	struct bowimg_partition p = {0};
	int rc = 0;

	for (uint32_t i = 0; i < d->contents->count && !rc; i++) {
		describe(d->contents, &d->contents->list[i], &p);
		rc = read_partition(d, &d->contents->list[i], &p, err);
		if (!rc)
			rc = bow_stop_asked(opts->events, err);
		if (!rc && opts->partition)
			opts->partition(opts->ctx, &p);
	}
	if (!rc && d->job->source.id != BOW_SOURCE_AUTO && !d->known)
		rc = refuse_source(d, &p, err);
	return rc;
}

int bow_freemap_partitions(const struct bow_freemap_job *job, const struct bow_contents *contents,
			   struct bow_bitmap *out, struct bow_freemap_info *info,
			   struct bowimg_error *err)
{
	struct disk d = {job, contents, out, info, false};
	int rc;

	*info = (struct bow_freemap_info){0};
	rc = read_all(&d, err);
	snprintf(info->what, sizeof(info->what), "a disk with %u partition%s (%s)", contents->count,
		 contents->count == 1 ? "" : "s",
		 !strcmp(contents->table.kind, "dos") ? "MBR" : "GPT");
	if (!info->source[0])
		snprintf(info->source, sizeof(info->source), "none");
	return rc;
}

int bow_freemap_list(struct bowimg_disk *dev,
		     int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		     struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_contents *contents = NULL;
	struct bowimg_partition p;
	int rc = bow_contents_read(dev, NULL, &contents, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < contents->table.count && !rc; i++) {
		describe(contents, &contents->list[i], &p);
		rc = partition(ctx, &p);
	}
	return rc;
}
