/* SPDX-License-Identifier: MIT */
/*
 * The memory of the cache: this process's own, or a file that outlives it. From a file, the next
 * process takes over what a killed one had answered and not written yet.
 *
 * Only a kill matters here, as in engine/carry.c, and so only the order in which the compiler lets
 * the stores happen. A place gets its number and its content, then its state, and only then the
 * write is answered; it is CLEAN again only after the disk below has it. A block whose write was
 * answered is DIRTY, or WRITING, which does not change the content: if a part of it is below, the
 * same is written again. No other write of the block is below, or on its way there (writeback.c).
 * FILLING was not answered. What could not be written is left for the next process to try, LOST.
 *
 * A write into a DIRTY block would be torn by a kill, and what was there had been answered. So the
 * write is noted as a whole before it is done, and the next process does it again.
 *
 * Failure modes: a file of another attach is emptied, and if something of it was not written, that
 * is said. The content is believed only inside the bounds of the disk, and only once for a block.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/in_order.h"
#include "lib/disk/writeback/private.h"

#define MAGIC UINT64_C(0x3168636163776f62) /* "bowcach1" */

static size_t data_off(uint32_t n)
{
	size_t bytes = sizeof(struct bow_store) + n * sizeof(struct bow_dirty);

	return (size_t)bow_div_up(bytes, BOW_WRITEBACK_BLK) * BOW_WRITEBACK_BLK;
}

static size_t store_bytes(uint32_t n)
{
	return data_off(n) + (size_t)n * BOW_WRITEBACK_BLK;
}

/* ---- one place ------------------------------------------------------------------------- */

void bow_store_begin(struct bow_dirty *d, uint64_t blk)
{
	d->blk = blk;
	bow_in_order();
	d->state = BOW_FILLING;
}

/* The content is there. */
void bow_store_answer(struct bow_dirty *d)
{
	bow_in_order();
	d->state = BOW_DIRTY;
	bow_in_order();
}

void bow_store_end(struct bow_dirty *d, enum bow_dirty_state state)
{
	bow_in_order();
	d->state = state;
}

static void redo(const struct bow_dirty_set *set)
{
	const struct bow_redo *r = &set->store->redo;

	memcpy(set->data + (size_t)r->place * BOW_WRITEBACK_BLK + r->off, r->data, r->bytes);
}

void bow_store_change(struct bow_dirty_set *set, const struct bow_dirty *d, const void *buf,
		      uint32_t bytes, uint32_t off)
{
	struct bow_redo *r = &set->store->redo;

	r->place = (uint32_t)(d - set->list);
	r->off = off;
	r->bytes = bytes;
	memcpy(r->data, buf, bytes);
	bow_in_order();
	r->valid = 1;
	bow_in_order();
	redo(set);
	bow_in_order();
	r->valid = 0;
	bow_in_order();
}

/* ---- whose it is ----------------------------------------------------------------------- */

/* Was the write of what is in this place answered, and is it perhaps not below? */
bool bow_store_owes(const struct bow_dirty *d)
{
	return d->state == BOW_DIRTY || d->state == BOW_WRITING || d->state == BOW_LOST;
}

static bool owes_any(const struct bow_dirty_set *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		if (bow_store_owes(&set->store->list[i]))
			return true;
	return false;
}

static void redo_after_kill(const struct bow_dirty_set *set)
{
	struct bow_redo *r = &set->store->redo;

	if (r->valid && r->place < set->n && r->bytes <= BOW_WRITEBACK_BLK &&
	    r->off <= BOW_WRITEBACK_BLK - r->bytes)
		redo(set);
	r->valid = 0;
}

/* Returns false, with errno, if there is no memory. */
static bool map(struct bow_dirty_set *set, int fd)
{
	int flags = fd > 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *p =
		mmap(NULL, store_bytes(set->n), PROT_READ | PROT_WRITE, flags, fd > 0 ? fd : -1, 0);

	if (p == MAP_FAILED)
		return false;
	set->store = p;
	set->list = set->store->list;
	set->data = (uint8_t *)p + data_off(set->n);
	return true;
}

/* Begin an empty file. The magic comes last, so that a half-written file fits nothing. */
static int begin(struct bow_dirty_set *set, const struct bow_writeback_options *opts, uint64_t size)
{
	if (ftruncate(opts->file, 0) < 0 || ftruncate(opts->file, (off_t)store_bytes(set->n)) < 0)
		return -errno;
	if (!map(set, opts->file))
		return -errno;
	set->store->attach = opts->attach;
	set->store->size = size;
	bow_in_order();
	set->store->magic = MAGIC;
	return 0;
}

static bool fits(const struct bow_store *s, uint64_t attach, uint64_t size)
{
	return s->magic == MAGIC && attach && s->attach == attach && s->size == size;
}

/* A file of another size is no cache of ours, or of another version. */
static int open_file(struct bow_dirty_set *set, const struct bow_writeback_options *opts,
		     uint64_t size, bool *lost)
{
	off_t bytes = lseek(opts->file, 0, SEEK_END);

	*lost = bytes > 0;
	if (bytes == (off_t)store_bytes(set->n)) {
		if (!map(set, opts->file))
			return -errno;
		*lost = set->store->magic && owes_any(set);
		if (fits(set->store, opts->attach, size)) {
			*lost = false;
			redo_after_kill(set);
			return 0;
		}
		bow_store_release(set);
	}
	return begin(set, opts, size);
}

int bow_store_open(struct bow_dirty_set *set, const struct bow_writeback_options *opts,
		   uint64_t size, bool *lost)
{
	*lost = false;
	if (opts->file > 0)
		return open_file(set, opts, size, lost);
	return map(set, 0) ? 0 : -errno;
}

void bow_store_release(struct bow_dirty_set *set)
{
	if (set->store)
		munmap(set->store, store_bytes(set->n));
	set->store = NULL;
}
