/* SPDX-License-Identifier: MIT */
/*
 * The free map of a partitioned disk: the union over its partitions. Each is read into a map of its
 * own, of which only what lies inside the partition counts, whatever the file system says of its
 * size. Between partitions everything is used.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "device/slice.h"
#include "maps/freemap.h"
#include "maps/table.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)

struct disk {
	struct bow_dev *dev;
	const char *spec;
	struct bow_bitmap *out;
	struct bow_freemap_info *info;
	const struct bowimg_events *events;
	bool known; /* a source has read something */
};

static void describe(const struct bow_table *table, const struct bow_part *p,
		     struct bowimg_partition *out)
{
	*out = (struct bowimg_partition){.number = p->number, .off = p->off, .bytes = p->bytes};
	snprintf(out->table, sizeof(out->table), "%s", table->kind);
	snprintf(out->type, sizeof(out->type), "%s", p->type);
	snprintf(out->name, sizeof(out->name), "%s", p->name);
	for (char *c = out->name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

/* What it holds. Where several file systems claim it, that is the reason not to look closer. */
static int look(struct bow_dev *dev, struct bowimg_partition *p, struct bowimg_error *err)
{
	struct bow_probe found;
	struct bow_dev *part;
	int rc = bow_dev_slice(dev, p->off, p->bytes, &part, err);

	if (rc)
		return rc;
	rc = bow_probe_device(part, &found, err);
	bow_dev_close(part, NULL);
	if (!rc)
		snprintf(p->content, sizeof(p->content), "%s", found.type);
	return rc;
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && !strcmp(text + n - k, end);
}

/* Content that is no file system: NULL, or why it is left alone. */
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

/* The message of a refusal, without the names in front that the table gives anyway. */
static void why_not(struct bowimg_partition *p, const struct bowimg_error *err)
{
	const char *text = err->message, *at = strstr(text, "read the free map: ");

	if (at)
		text = at + strlen("read the free map: ");
	else if ((at = strstr(text, "): ")))
		text = at + strlen("): ");
	snprintf(p->why_not, sizeof(p->why_not), "%.191s", text);
}

static bool is_named(const char *spec)
{
	return spec && strcmp(spec, "auto") != 0;
}

static int read_volume(const struct disk *d, struct bowimg_partition *p, struct bow_bitmap *map,
		       struct bow_freemap_info *info, struct bowimg_error *err)
{
	const char *opaque = why_opaque(p->content);

	if (opaque)
		return bow_err(err, -EOPNOTSUPP, "%s", opaque);
	if (is_named(d->spec) && !strcmp(d->spec, "ext") && strncmp(p->content, "ext", 3) != 0)
		return bow_err(err, -EOPNOTSUPP, "it is no ext2, ext3 or ext4");
	if (is_named(d->spec) && !strcmp(d->spec, "fat") && strcmp(p->content, "vfat") != 0)
		return bow_err(err, -EOPNOTSUPP, "it is no FAT");
	return bow_freemap_volume(d->dev, p->off, p->bytes, d->spec, map, info, d->events, err);
}

/* d->out |= what of the map lies inside the partition */
static int join(const struct disk *d, struct bowimg_partition *p, const struct bow_bitmap *map,
		struct bowimg_error *err)
{
	uint64_t start = bow_div_up(p->off, BLOCK), end = (p->off + p->bytes) / BLOCK, n;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(map, &start, &n, end); start += n) {
		rc = bow_bitmap_set(d->out, start, n);
		p->free_bytes += n * BLOCK;
	}
	return rc ? bow_err_errno(err, rc, "%s: keep the free map", d->dev->name) : 0;
}

/* "ext", "ext+swap": a source more; what does not fit in is left out. */
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

/* Advice for a file system needs a device to act on. */
static int refuse(const struct bowimg_partition *p, int rc, struct bowimg_error *why,
		  struct bowimg_error *err)
{
	char hint[sizeof(why->hint)];

	memcpy(hint, why->hint, sizeof(hint));
	if (hint[0] && bowimg_exit_status(rc) == 6)
		snprintf(why->hint, sizeof(why->hint),
			 "%.150s (partition %u as a device: losetup -fP --show IMAGE)", hint,
			 p->number);
	if (err)
		*err = *why;
	return bow_err_wrap(err, rc, "partition %u", p->number);
}

static int read_map(struct disk *d, struct bowimg_partition *p, struct bow_bitmap *map,
		    struct bowimg_error *err)
{
	struct bow_freemap_info info = {0};
	struct bowimg_error why = {0};
	int rc = look(d->dev, p, &why);

	if (!rc)
		rc = read_volume(d, p, map, &info, &why);
	if (rc == -EOPNOTSUPP) {
		why_not(p, &why);
		return 0;
	}
	if (rc)
		return refuse(p, rc, &why, err);
	d->known = true;
	snprintf(p->source, sizeof(p->source), "%s", info.source);
	note_source(d->info, info.source);
	d->info->fs_free_bytes += info.fs_free_bytes;
	return join(d, p, map, err);
}

static int read_partition(struct disk *d, struct bowimg_partition *p, struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_bitmap_bits(d->out));
	int rc;

	if (!map)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", d->dev->name);
	rc = read_map(d, p, map, err);
	bow_bitmap_free(map);
	return rc;
}

/* A source that was asked for by name and knows nothing here, or does not exist. */
static int refuse_source(const struct disk *d, const struct bowimg_partition *last,
			 struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: no partition by source \"%s\"%s%s",
		d->dev->name, d->spec, last->why_not[0] ? ": " : "", last->why_not);
	bow_err_hint(err, "bowimg prepare -n without --free-from shows what can be read");
	return -EOPNOTSUPP;
}

int bow_freemap_partitions(struct bow_dev *dev, const struct bow_table *table, const char *spec,
			   struct bow_bitmap *out, struct bow_freemap_info *info,
			   const struct bow_part_sink *sink, const struct bowimg_events *events,
			   struct bowimg_error *err)
{
	struct disk d = {dev, spec, out, info, events, false};
	struct bowimg_partition p = {0};
	int rc = 0;

	*info = (struct bow_freemap_info){0};
	for (uint32_t i = 0; i < table->count && !rc; i++) {
		describe(table, &table->parts[i], &p);
		rc = read_partition(&d, &p, err);
		if (!rc && sink && sink->partition)
			sink->partition(sink->ctx, &p);
	}
	if (!rc && is_named(spec) && !d.known)
		rc = refuse_source(&d, &p, err);
	snprintf(info->what, sizeof(info->what), "a disk with %u partition%s (%s)", table->count,
		 table->count == 1 ? "" : "s", !strcmp(table->kind, "dos") ? "MBR" : "GPT");
	if (!info->source[0])
		snprintf(info->source, sizeof(info->source), "none");
	return rc;
}

int bow_freemap_list(struct bow_dev *dev,
		     int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		     struct bowimg_error *err)
{
	struct bow_table *table = malloc(sizeof(*table));
	struct bowimg_partition p;
	int rc;

	if (!table)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_table_read(dev, table, err);
	for (uint32_t i = 0; !rc && i < table->count; i++) {
		describe(table, &table->parts[i], &p);
		rc = look(dev, &p, err);
		if (rc == -EOPNOTSUPP) /* several file systems claim it: then none is named */
			rc = 0;
		if (!rc)
			rc = partition(ctx, &p);
	}
	free(table);
	return rc;
}
