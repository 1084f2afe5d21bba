/* SPDX-License-Identifier: MIT */
/* Two files as the two versions of a disk. */
#include "diff_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/base/err.h"

#define BLOCK BOWIMG_BLOCK_SIZE
#define CHUNK (256u << 10)

static int pair_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	const struct diff_pair_disk *version = (struct diff_pair_disk *)disk;
	struct diff_pair *p = version->pair;

	p->requests++;
	p->bytes += bytes;
	if (p->inject && p->inject(p->inject_ctx))
		return bow_err(err, -EIO, "read: injected");
	assert_int_equal(pread(version->fd, buf, bytes, (off_t)off), bytes);
	return 0;
}

/* The start of data in either version at or after off. */
static uint64_t next_data(const struct diff_pair *p, uint64_t off)
{
	uint64_t next = p->size;

	for (int version = 0; version < 2; version++) {
		off_t at = lseek(p->version[version].fd, (off_t)off, SEEK_DATA);

		if (at >= 0)
			next = bow_min(next, (uint64_t)at / BLOCK * BLOCK);
	}
	return bow_max(next, off);
}

static int pair_changes(struct bowimg_disk *disk, const char *mark,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			struct bowimg_error *err)
{
	static uint8_t buf[2][CHUNK];
	struct diff_pair *p = ((struct diff_pair_disk *)disk)->pair;
	int rc = 0;

	(void)mark;
	(void)err;
	for (uint64_t off = next_data(p, 0); !rc && off < p->size; off = next_data(p, off)) {
		const size_t k = (size_t)bow_min(CHUNK, p->size - off);

		for (int version = 0; version < 2; version++)
			assert_int_equal(pread(p->version[version].fd, buf[version], k, (off_t)off),
					 k);
		for (size_t at = 0; !rc && at < k; at += BLOCK) {
			const size_t n = bow_min(BLOCK, k - at);
			const struct bowimg_change c = {.off = off + at, .bytes = n};

			if (memcmp(buf[0] + at, buf[1] + at, n) != 0)
				rc = run(ctx, &c);
		}
		off += k;
	}
	return rc;
}

static const struct bow_disk_ops pair_ops = {.read = pair_read, .changes = pair_changes};

void diff_pair_open(struct diff_pair *p, const char *now, const char *before)
{
	const char *const names[] = {[BOW_NEW] = now, [BOW_OLD] = before};
	struct stat st;

	*p = (struct diff_pair){0};
	for (int version = 0; version < 2; version++) {
		p->version[version].fd = open(names[version], O_RDONLY | O_CLOEXEC);
		assert_true(p->version[version].fd >= 0);
	}
	assert_int_equal(fstat(p->version[0].fd, &st), 0);
	p->size = (uint64_t)st.st_size;
	for (int version = 0; version < 2; version++) {
		p->version[version].pair = p;
		p->version[version].disk = (struct bowimg_disk){.built = &pair_ops,
								.name = "disk.img",
								.size = p->size,
								.sector_size = 512,
								.readonly = true};
	}
	p->source = (struct bow_diff_source){.disk = {&p->version[0].disk, &p->version[1].disk},
					     .name = "disk.img"};
}

void diff_pair_close(struct diff_pair *p)
{
	close(p->version[0].fd);
	close(p->version[1].fd);
}

int diff_pair_run(struct diff_pair *p, bool all_links, struct bow_diff **out,
		  struct bowimg_error *err)
{
	const struct bow_diff_options opts = {.bytes = p->size, .all_links = all_links};

	return bow_diff_files(&p->source, &opts, out, err);
}

char *diff_pair_text(const struct bow_diff *d)
{
	static const char signs[] = {'+', '-', '*', '>'}, letters[] = "tcsmodxln";
	const struct bow_diff_item *items;
	char *text = NULL;
	size_t bytes, n;
	FILE *f = open_memstream(&text, &bytes);

	assert_non_null(f);
	items = bow_diff_items(d, &n);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "%c%s%s%s%s", signs[items[i].kind],
			items[i].old_path ? items[i].old_path : "", items[i].old_path ? ">" : "",
			items[i].path, items[i].what ? " " : "");
		for (int k = 0; letters[k]; k++)
			if (items[i].what >> k & 1)
				putc(letters[k], f);
		putc('\n', f);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}
