/* SPDX-License-Identifier: MIT */
/*
 * Patches that anybody may have written. The first byte says what the others are:
 *
 *	0	the file itself, in any compression
 *	1	members of an archive: which name (1 byte), how long (2), the content
 *	2	runs, 7 bytes each: block (2), bytes (3), flags (1), piece (1); the archive of them
 *has right checksums everywhere, and must be read exactly if the runs can be
 *
 * What is given out must be in order, inside the image, and as its hash says.
 */
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "patch_forge.h"

enum { FILE_ITSELF, MEMBERS, RUNS, MODES };
enum { MEMBERS_MAX = 64, RUNS_MAX = 64, RUN_BYTES = 7, BLOCKS_MAX = 70 };
enum { RUN_ANY = 1, RUN_ZERO = 2, RUN_PARTIAL = 4 };

struct seen {
	uint64_t end, runs;
};

static void check_run(void *ctx, const struct bow_patch_run *run, const void *after)
{
	struct seen *s = ctx;

	if (run->off < s->end || run->bytes < 1 || run->bytes > BOW_PATCH_RUN_MAX ||
	    run->off % BOWIMG_BLOCK_SIZE)
		fuzz_die("a run that cannot be");
	if (bow_hash(after, run->bytes, 0) != run->after)
		fuzz_die("data that is not what its hash says");
	if (run->zero && !bow_is_zero(after, run->bytes))
		fuzz_die("zeros that are none");
	s->end = run->off + run->bytes;
	s->runs++;
}

static int read_patch(int fd, struct seen *seen)
{
	struct bowimg_error err = {0};

	*seen = (struct seen){0};
	return fuzz_check_error(forge_read(fd, check_run, seen, &err), &err);
}

/* ---- 1: members ------------------------------------------------------------------ */

static const char *const names[] = {"manifest.json",
				    "00000000.json",
				    "00000000.data",
				    "end.json",
				    "00000001.json",
				    "00000001.data",
				    "../x",
				    "",
				    NULL};
static const unsigned types[] = {AE_IFREG, AE_IFLNK, AE_IFDIR, AE_IFIFO};

static int archive_of_members(const uint8_t *data, size_t size)
{
	struct forge_member m[MEMBERS_MAX + 1] = {{0}};

	for (int n = 0; n < MEMBERS_MAX && size >= 3; n++) {
		size_t bytes = bow_min(bow_get16(data + 1), size - 3);

		m[n].name = names[data[0] & 7];
		m[n].type = data[0] & 0x80 ? types[data[0] >> 4 & 3] : AE_IFREG;
		m[n].bytes = data + 3;
		m[n].n = m[n].type == AE_IFREG ? bytes : 0;
		data += 3 + bytes;
		size -= 3 + bytes;
	}
	return forge_archive(m, BOW_PATCH_NONE);
}

/* ---- 2: runs --------------------------------------------------------------------- */

struct runs {
	struct bow_patch_run runs[RUNS_MAX];
	uint8_t piece[RUNS_MAX];
	unsigned n;
};

static void decode(const uint8_t *data, size_t size, struct runs *r)
{
	for (r->n = 0; r->n < RUNS_MAX && size >= RUN_BYTES; r->n++) {
		struct bow_patch_run *run = &r->runs[r->n];

		run->off = bow_get16(data) * (uint64_t)FORGE_BLOCK;
		run->bytes = data[2] % BLOCKS_MAX * FORGE_BLOCK;
		if (data[5] & RUN_PARTIAL)
			run->bytes += bow_get16(data + 3) % FORGE_BLOCK;
		run->any = data[5] & RUN_ANY;
		run->zero = data[5] & RUN_ZERO;
		r->piece[r->n] = data[6];
		data += RUN_BYTES;
		size -= RUN_BYTES;
	}
}

/* By the words of bowimg-patch(5), not by the reader's code. */
static bool can_be(const struct runs *r)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < r->n; i++) {
		const struct bow_patch_run *run = &r->runs[i];
		uint64_t stop = run->off + run->bytes;

		if (run->off < end || !run->bytes || stop > FORGE_IMAGE)
			return false;
		if (run->bytes % FORGE_BLOCK && stop != FORGE_IMAGE)
			return false;
		end = stop;
	}
	return true;
}

/* The runs from i on that are one piece, as members; their texts are to be freed. */
static unsigned put_piece(struct runs *r, unsigned i, unsigned number, const uint8_t *zeros,
			  struct forge_member *m, struct bow_patch_totals *t)
{
	static char piece_names[2 * RUNS_MAX][16];
	unsigned first = i;
	size_t data_bytes = 0;

	do {
		r->runs[i].after = bow_hash(zeros, r->runs[i].bytes, 0);
		data_bytes += r->runs[i].zero ? 0 : r->runs[i].bytes;
		t->runs++;
		t->run_bytes += r->runs[i++].bytes;
	} while (i < r->n && r->piece[i] == r->piece[first] && data_bytes < FORGE_IMAGE);
	t->data_bytes += data_bytes;
	snprintf(piece_names[2 * number], sizeof(piece_names[0]), "%08u.json", number);
	snprintf(piece_names[2 * number + 1], sizeof(piece_names[0]), "%08u.data", number);
	m[0].name = piece_names[2 * number];
	m[0].bytes = bow_patch_piece_encode(r->runs + first, i - first);
	m[0].n = strlen(m[0].bytes);
	if (data_bytes)
		m[1] = (struct forge_member){piece_names[2 * number + 1], zeros, data_bytes, 0};
	return i;
}

static int archive_of_runs(struct runs *r, const uint8_t *zeros)
{
	static struct forge_member m[2 * RUNS_MAX + 3];
	struct bow_patch_totals totals = {0};
	unsigned n = 1, number = 0;
	uint64_t hash;
	int fd;

	memset(m, 0, sizeof(m));
	m[0].name = "manifest.json";
	m[0].bytes = bow_patch_head_encode(&forge_head);
	m[0].n = strlen(m[0].bytes);
	hash = bow_hash(m[0].bytes, m[0].n, 0);
	for (unsigned i = 0; i < r->n;) {
		i = put_piece(r, i, number++, zeros, m + n, &totals);
		hash = bow_hash(m[n].bytes, m[n].n, hash);
		n += m[n + 1].name ? 2 : 1;
	}
	m[n].name = "end.json";
	m[n].bytes = bow_patch_end_encode(&totals, hash);
	m[n].n = strlen(m[n].bytes);
	fd = forge_archive(m, BOW_PATCH_NONE);
	for (unsigned i = 0; i <= n; i++)
		if (m[i].bytes != zeros)
			free((void *)m[i].bytes);
	return fd;
}

static void run_runs(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[3 * FORGE_IMAGE];
	static struct runs r;
	struct seen seen;
	int fd, rc;

	memset(&r, 0, sizeof(r));
	decode(data, size, &r);
	fd = archive_of_runs(&r, zeros);
	rc = read_patch(fd, &seen);
	if ((rc == 0) != can_be(&r) || (rc == 0 && seen.runs != r.n))
		fuzz_die("%u runs, and %d after %lu of them", r.n, rc, (unsigned long)seen.runs);
	close(fd);
}

/* ---- all ------------------------------------------------------------------------- */

static void run(const uint8_t *data, size_t size)
{
	struct seen seen;
	int fd;

	if (!size)
		return;
	if (data[0] % MODES == RUNS) {
		run_runs(data + 1, size - 1);
		return;
	}
	fd = data[0] % MODES == MEMBERS ? archive_of_members(data + 1, size - 1)
					: forge_file(data + 1, size - 1);
	read_patch(fd, &seen);
	close(fd);
}

static void seed_file(enum bow_patch_pack pack, struct fuzz_buf *out)
{
	static const uint8_t after[FORGE_BLOCK] = "content";
	struct bow_patch_run run = {.off = 3 * FORGE_BLOCK, .bytes = FORGE_BLOCK, .before = 7};
	struct bow_patch_totals totals;
	struct bow_patch_writer *w;
	struct bowimg_error err;
	uint8_t bytes[16384];
	int fd = forge_file("", 0);

	if (bow_patch_writer_open(fd, pack, &forge_head, &w, &err) ||
	    bow_patch_writer_add(w, &run, after, &err) || bow_patch_writer_finish(w, &totals, &err))
		fuzz_die("a seed: %s", err.message);
	bow_patch_writer_free(w);
	fuzz_put(out, "\0", 1);
	fuzz_put(out, bytes, (size_t)pread(fd, bytes, sizeof(bytes), 0));
	close(fd);
}

static void put_text(struct fuzz_buf *out, uint8_t name, const char *text)
{
	uint8_t head[3] = {name};

	bow_put16(head + 1, (uint16_t)strlen(text));
	fuzz_put(out, head, sizeof(head));
	fuzz_put(out, text, strlen(text));
}

static void seed_members(struct fuzz_buf *out)
{
	char *head = bow_patch_head_encode(&forge_head), *piece, *end;
	static const uint8_t zeros[FORGE_BLOCK];
	struct bow_patch_run run = {
		.bytes = FORGE_BLOCK, .zero = true, .after = bow_hash(zeros, FORGE_BLOCK, 0)};
	struct bow_patch_totals totals = {.runs = 1, .run_bytes = FORGE_BLOCK};

	piece = bow_patch_piece_encode(&run, 1);
	end = bow_patch_end_encode(&totals,
				   bow_hash(piece, strlen(piece), bow_hash(head, strlen(head), 0)));
	fuzz_put(out, "\1", 1);
	put_text(out, 0, head);
	put_text(out, 1, piece);
	put_text(out, 3, end);
	free(head);
	free(piece);
	free(end);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	static const uint8_t some_runs[] = {
		RUNS, 0, 0,  1,	  0, 0,		  0, 0, /* block 0 */
		2,    0, 2,  0,	  0, RUN_ANY,	  0,	/* blocks 2 and 3 */
		9,    0, 16, 0,	  0, RUN_ZERO,	  1,	/* blocks 9 to 24, in another piece */
		63,   0, 1,  100, 0, RUN_PARTIAL, 1,	/* the last ones */
	};

	if (i < 4)
		seed_file(BOW_PATCH_NONE + i, out);
	else if (i == 4)
		seed_members(out);
	else if (i == 5)
		fuzz_put(out, some_runs, sizeof(some_runs));
	return i < 6;
}

const struct fuzz_target fuzz_patch = {"patch", run, seed, NULL};
