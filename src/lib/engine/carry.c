/* SPDX-License-Identifier: MIT */
/*
 * Keeps what would be lost with this process in a file in memory that outlives it: pending zeros
 * that wait to be logged, and blocks whose zero is done without a ZERO_DONE in the log so far. The
 * next process that attaches the image with the same file takes them over. All other state is in
 * the image, and since the machine goes on, so is everything that was written.
 *
 * A block has the two in this order: a zero is pending only for a block that is not the file
 * system's yet, and the write that ends it makes the block the file system's. It may be given back
 * and have both again, but only after the log has the ZERO_DONE, and the bit is clear. So a block
 * reads as zeros if the log or the list of pending zeros says so, unless its zero_done bit is set.
 * Each fact is stored before its request returns, and removed after the log has it; a fact in both
 * places does no harm. Whenever the process dies, nothing that was acknowledged is missing. [I4]
 *
 * The file belongs to this attach only if no other process has attached the image since. So the
 * number of each superblock is stored before it is written, and again afterwards.
 *
 * Failure modes: a file that does not fit is emptied, and the attach is one after a crash. The
 * content of the file is believed only inside the bounds of the image.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/in_order.h"
#include "lib/blocks/bits.h"
#include "lib/engine/carry.h"

#define MAGIC UINT64_C(0x3272726163776f62) /* "bowcarr2" */

static size_t file_bytes(const struct bow_engine *img)
{
	return sizeof(struct bow_carry) + (size_t)bow_div_up(img->blocks.count, 64) * 8;
}

/* ---- whose it is ----------------------------------------------------------------- */

static bool fits(const struct bow_engine *img, const struct bow_carry *c)
{
	return img->sb.flags & BOW_SUPER_ATTACHED && c->magic == MAGIC &&
	       !memcmp(c->uuid, img->sb.uuid, sizeof(c->uuid)) && c->blocks == img->blocks.count &&
	       (c->updates[0] == img->sb.updates || c->updates[1] == img->sb.updates);
}

static void *map_file(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Begin an empty file. The magic comes last, so that a half-written file fits nothing. */
static int begin(const struct bow_engine *img, int fd, struct bow_carry **out)
{
	struct bow_carry *c;

	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)file_bytes(img)) < 0)
		return -errno;
	c = map_file(fd, file_bytes(img));
	if (!c)
		return -errno;
	if (getrandom(&c->attach, sizeof(c->attach), 0) != sizeof(c->attach)) {
		munmap(c, file_bytes(img));
		return -EIO;
	}
	memcpy(c->uuid, img->sb.uuid, sizeof(c->uuid));
	c->blocks = img->blocks.count;
	c->updates[0] = c->updates[1] = img->sb.updates;
	bow_in_order();
	c->magic = MAGIC;
	*out = c;
	return 0;
}

int bow_carry_open(struct bow_engine *img, struct bowimg_error *err)
{
	int fd = img->opts.carry, rc = 0;
	struct bow_carry *c = NULL;

	if (fd <= 0)
		return 0;
	if (lseek(fd, 0, SEEK_END) == (off_t)file_bytes(img))
		c = map_file(fd, file_bytes(img));
	img->carried = c && fits(img, c);
	if (c && !img->carried) {
		munmap(c, file_bytes(img));
		c = NULL;
	}
	if (!c)
		rc = begin(img, fd, &c);
	if (rc)
		return bow_err_errno(err, rc, "set up the file for pending zeros");
	img->carry = c;
	img->carrying = !img->carried;
	return 0;
}

void bow_carry_close(struct bow_engine *img)
{
	if (img->carry)
		munmap(img->carry, file_bytes(img));
	img->carry = NULL;
}

uint64_t bow_carry_attach(struct bowimg_disk *served)
{
	const struct bow_engine *img = bow_engine_of(served);

	return img->carry ? img->carry->attach : 0;
}

void bow_carry_announce_super(struct bow_engine *img)
{
	if (img->carry)
		img->carry->updates[1] = img->sb.updates + 1;
	bow_in_order();
}

void bow_carry_note_super(struct bow_engine *img)
{
	bow_in_order();
	if (img->carry)
		img->carry->updates[0] = img->sb.updates;
}

/* ---- what is not logged yet: with img->lock held --------------------------------- */

static void add_zero_pending(struct bow_carried_zeros *list, uint64_t start, uint64_t n)
{
	struct bow_run *last = list->n ? &list->runs[list->n - 1] : NULL;

	if (last && last->start_blk + last->count_blk == start &&
	    last->count_blk + n <= UINT32_MAX) {
		last->count_blk += n;
		return;
	}
	list->runs[list->n] = (struct bow_run){start, n};
	bow_in_order();
	list->n++;
}

/* The queue has no more room than the list. */
void bow_carry_zero_pending(struct bow_engine *img, uint64_t start, uint64_t n)
{
	struct bow_carry *c = img->carry;

	if (img->carrying && c->lists[c->current].n < BOW_ZERO_PENDING_MAX)
		add_zero_pending(&c->lists[c->current], start, n);
	bow_in_order();
}

/* The leader's are logged; those in the queue are left. */
void bow_carry_zero_pending_logged(struct bow_engine *img)
{
	struct bow_carry *c = img->carry;
	unsigned other;

	if (!img->carrying)
		return;
	other = !c->current;
	c->lists[other].n = 0;
	for (uint32_t i = 0; i < img->n_zero_pending; i++)
		add_zero_pending(&c->lists[other], img->zero_pending[i].source_blk,
				 img->zero_pending[i].count_blk);
	atomic_store_explicit(&c->current, other, memory_order_release);
}

static void fill_zero_done(struct bow_carry *c, uint64_t start, uint64_t n, bool value)
{
	for (uint64_t k; n; start += k, n -= k) {
		uint32_t lo = start % BOW_LEAF_BITS;

		k = bow_min(n, BOW_LEAF_BITS - lo);
		bow_bits_fill(c->zero_done + start / BOW_LEAF_BITS * (BOW_LEAF_BITS / 64), lo,
			      lo + (uint32_t)k, value);
	}
}

void bow_carry_forget_zero_done(struct bow_engine *img)
{
	fill_zero_done(img->carry, 0, img->blocks.count, false);
}

void bow_carry_zero_done(struct bow_engine *img, uint64_t start, uint64_t n)
{
	if (img->carrying)
		fill_zero_done(img->carry, start, n, true);
	bow_in_order();
}

void bow_carry_zero_done_logged(struct bow_engine *img, uint64_t start, uint64_t n)
{
	if (img->carrying)
		fill_zero_done(img->carry, start, n, false);
}

/* ---- taken over ------------------------------------------------------------------ */
