/* SPDX-License-Identifier: MIT */
/*
 * Prepares more blocks than were asked for, where the guest is likely to write next: a barrier
 * costs the same for one block as for thousands. Nothing here is needed for safety. A block that is
 * backed up and then not overwritten costs its copy; a free one that is taken and not written costs
 * a place for a backup. So this keeps to a share of the free space (share.c).
 *
 * For a sequential writer, the blocks behind the request are backed up (or taken, if they are free)
 * in a window that doubles each time. For a random writer it is the rest of a group of blocks, once
 * part of the group was overwritten; on free blocks it is the free ones around.
 */
#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define WINDOW_FIRST_BLK 32u
#define WINDOW_FIRST_FAR_BLK 512u /* where many requests take hardly longer than one */
#define IN_FLIGHT 4u		  /* requests of a sequential writer that may overtake each other */
#define IN_FLIGHT_BIG 16u /* the same for requests larger than a group, which come by no chance */
#define GROUP_BLK 16u
#define GROUP_WRITTEN 2u   /* overwritten blocks after which the group's rest is likely to follow */
#define REGION_WRITTEN 16u /* the same for a region */
#define REGION_BLK 256u	   /* free blocks around a scattered write: 1 MiB at first */
#define REGION_SIZES 5u	   /* regions of 1, 2, 4, 8, 16 MiB */
#define REGION_WIDE 17u	   /* ... to 64 GiB */
#define REGION_PLACES 4u   /* written places after which more of 1 MiB is likely to follow */
#define REGION_MORE 2u	   /* additional places for each next size of region */
#define REGION_ENTRIES 256u /* runs taken at a time */

/* Get memory so that the following changes cannot fail. */
static int reserve(struct bow_engine *img, uint64_t start, uint64_t n)
{
	int rc = bow_blocks_reserve(&img->blocks, start, n);

	return rc ? rc : bow_bitmap_reserve(img->ahead, start, n);
}

/*
 * Finds the stream that this request continues, and the window it has earned; 0 for a new stream.
 * Requests of one writer that are in flight together arrive in any order, so a distance of a few of
 * their lengths either way counts as continuing.
 */
static struct bow_stream *find_stream(struct bow_engine *img, const struct bow_request *req,
				      uint64_t *window)
{
	uint64_t slack =
		req->core_count * (req->core_count >= GROUP_BLK ? IN_FLIGHT_BIG : IN_FLIGHT);
	uint64_t first = img->crew ? WINDOW_FIRST_FAR_BLK : WINDOW_FIRST_BLK;

	for (unsigned i = 0; i < BOW_STREAMS; i++) {
		struct bow_stream *s = &img->streams[i];

		if (s->next_blk && req->core <= s->next_blk + slack &&
		    s->next_blk <= req->core + slack) {
			*window = bow_max(2 * s->window_blk, first);
			*window = bow_min(*window, BOW_WINDOW_FREE_BLK);
			return s;
		}
	}
	*window = 0;
	return &img->streams[img->next_stream++ % BOW_STREAMS];
}

/* Add FREE blocks behind the request to its last entry, which takes the blocks before them. */
static void take_behind(struct bow_engine *img, struct bow_request *req, uint64_t end, uint64_t n)
{
	bow_alloc_take(&img->alloc, end, n);
	bow_share_note(img, end, n);
	req->entries[req->n - 1].count_blk += (uint32_t)n;
	req->count += n;
	req->taken_count += n;
}

/* Does the request's last entry take the blocks right up to `end`? */
static bool takes_up_to(const struct bow_request *req, uint64_t end)
{
	const struct bow_entry *last = req->n ? &req->entries[req->n - 1] : NULL;

	return last && last->source_blk + last->count_blk == end;
}

/* Widen over what lies behind the request, if it is of one kind; returns the backups it needs. */
static uint64_t widen_behind(struct bow_engine *img, struct bow_request *req, uint64_t window)
{
	uint64_t end = req->core + req->core_count, n = 0;
	enum bow_block_state state = BOW_LIVE;
	bool zero = true;

	if (window && end < img->blocks.count)
		n = bow_blocks_run(&img->blocks, end, bow_min(window, img->blocks.count - end),
				   &state, &zero);
	n = bow_min(n, state == BOW_FREE ? bow_share_to_take(img) : bow_share_to_back_up(img));
	/* Z stays when a block is taken; an original with Z was not backed up by a wider write. */
	zero = zero && state != BOW_FREE;
	if (!n || zero || bow_request_overlaps(img, end, n) || reserve(img, end, n))
		return 0;
	if (state == BOW_FREE && takes_up_to(req, end))
		take_behind(img, req, end, n);
	if (state != BOW_ORIGINAL)
		return 0;
	req->count += n;
	return n;
}

static uint64_t widen_stream(struct bow_engine *img, struct bow_request *req)
{
	uint64_t window;
	struct bow_stream *s = find_stream(img, req, &window);
	uint64_t dests = widen_behind(img, req, window);

	if (!window)
		s->next_blk = 0;
	s->next_blk = bow_max(s->next_blk, req->first + req->count);
	s->window_blk = window;
	return dests;
}

static uint64_t originals_in(const struct bow_engine *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run, n = 0;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state == BOW_ORIGINAL && !zero)
			n += run;
	}
	return n;
}

/*
 * Does the request only take blocks, so that each of its own is LIVE by now? A request that backs
 * up adds to its entries without the lock, so `n` is read last: only when no thread can add.
 */
static bool only_takes(const struct bow_request *req)
{
	return !req->block0 && !req->n_dests && !req->dests_left && req->n;
}

/*
 * Cut the range around the request to blocks that no other request holds. For taking, it may
 * contain requests that only take: their blocks are in their own entries, and nothing else about
 * these blocks is going to change.
 */
static void keep_clear(const struct bow_engine *img, const struct bow_request *req, bool to_take,
		       uint64_t *from, uint64_t *to)
{
	for (unsigned i = 0; i < BOW_SLOTS; i++) {
		const struct bow_request *other = &img->requests[i];

		if (other->active && other != req && !(to_take && only_takes(other)))
			bow_request_next_to(other, req->core, from, to);
	}
}

/* Extends the request's blocks to whole multiples of `blk`, without block 0. */
static void align_around(const struct bow_engine *img, const struct bow_request *req, uint64_t blk,
			 uint64_t *from, uint64_t *to)
{
	uint64_t end = bow_div_up(req->core + req->core_count, blk) * blk;

	*from = bow_max(1, req->core / blk * blk);
	*to = bow_min(end, img->blocks.count);
}

/* Returns how many blocks of the range the guest itself has overwritten. */
static uint64_t written_in(const struct bow_engine *img, uint64_t from, uint64_t to)
{
	return bow_bitmap_count_range(img->blocks.taken, from, to - from) -
	       bow_bitmap_count_range(img->ahead, from, to - from);
}

/* Finds the largest group around a small request of which the guest has overwritten enough. */
static bool find_group(const struct bow_engine *img, const struct bow_request *req, uint64_t *from,
		       uint64_t *to)
{
	static const struct {
		unsigned blk, written;
	} groups[] = {{REGION_BLK, REGION_WRITTEN}, {GROUP_BLK, GROUP_WRITTEN}};
	uint64_t most = bow_share_to_back_up(img);

	/* Block 0 is never backed up again, and belongs to the request that writes it. */
	for (unsigned i = 0; i < 2 && req->core && req->core_count <= GROUP_BLK / 2; i++) {
		align_around(img, req, groups[i].blk, from, to);
		if (*to - *from <= most && written_in(img, *from, *to) >= groups[i].written)
			return true;
	}
	return false;
}

/* Widen over the rest of the group that the request lies in. */
static uint64_t widen_group(struct bow_engine *img, struct bow_request *req)
{
	uint64_t end = req->core + req->core_count, from, to, n;

	if (!find_group(img, req, &from, &to))
		return 0;
	keep_clear(img, req, false, &from, &to);
	n = originals_in(img, from, req->core) + originals_in(img, end, to);
	if (!n || reserve(img, from, to - from))
		return 0;
	req->first = from;
	req->count = to - from;
	return n;
}

static bool is_open(enum bow_block_state state)
{
	return state == BOW_FREE || state == BOW_LIVE;
}

/* Returns how many blocks of [from, end) right before `end` are open. */
static uint64_t open_before(const struct bow_engine *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run, n = 0;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		n = is_open(state) ? n + run : 0;
	}
	return n;
}

/* The same from `from` on. */
static uint64_t open_behind(const struct bow_engine *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state = BOW_FREE;
	uint64_t run, blk = from;
	bool zero;

	for (; blk < end && is_open(state); blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		run = is_open(state) ? run : 0;
	}
	return blk - from;
}

/* Add an entry for each FREE run of [from, end), as the share allows. Returns where it stopped. */
static uint64_t take_runs(struct bow_engine *img, struct bow_request *req, uint64_t from,
			  uint64_t end)
{
	uint64_t run, most = bow_share_to_take(img);
	enum bow_block_state state;
	bool zero;

	for (; from < end && most && req->n < REGION_ENTRIES; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state != BOW_FREE)
			continue;
		run = bow_min(run, most);
		most -= run;
		bow_request_take(img, req, from, run);
		bow_share_note(img, from, run);
	}
	return from;
}

/* Does the region have `places` runs of blocks that were free and are the guest's now? */
static bool has_places(const struct bow_engine *img, uint64_t from, uint64_t to, unsigned places)
{
	uint64_t n = 0;

	for (; places && bow_bitmap_next_run(img->blocks.taken, &from, &n, to); from += n)
		if (bow_bitmap_test(img->blocks.free, from))
			places--;
	return !places;
}

/*
 * A guest that comes to free blocks again and again, wherever that is, gets more of them each time.
 * Returns the size of the region that it has earned; 0: none.
 */
static uint64_t wide_region(const struct bow_engine *img)
{
	unsigned sizes = img->small_takes > REGION_PLACES ? img->small_takes - REGION_PLACES : 0;

	if (!img->ahead_wide || !sizes)
		return 0;
	sizes = bow_min(REGION_SIZES - 1 + 2 * sizes, REGION_WIDE - 1);
	return (uint64_t)REGION_BLK << sizes;
}

/*
 * Finds the largest region around the request that the guest has written to here and there, so that
 * more of it is likely to follow. Returns false if there is none.
 */
static bool find_region(const struct bow_engine *img, const struct bow_request *req, uint64_t *from,
			uint64_t *to)
{
	uint64_t most = bow_share_to_take(img), wide = wide_region(img);

	if (wide) {
		*from = bow_max(1, req->core - bow_min(req->core, wide / 2));
		*to = bow_min(bow_max(*from + wide, req->core + req->core_count),
			      img->blocks.count);
		return true;
	}
	for (unsigned i = REGION_SIZES; i-- > 0;) {
		align_around(img, req, (uint64_t)REGION_BLK << i, from, to);
		if (*to - *from > most)
			continue;
		if (has_places(img, *from, *to, 1 + REGION_PLACES + REGION_MORE * i))
			return true;
		/* A writer that fills it from above leaves one place that grows. */
		if (i == 0 && written_in(img, *from, *to) >= REGION_WRITTEN)
			return true;
	}
	return false;
}

/* Is this a small request on free blocks, for which nothing else was taken? */
static bool is_small_take(const struct bow_request *req)
{
	return req->n == 1 && req->core && req->core_count <= REGION_BLK / 4 &&
	       req->entries[0].source_blk == req->core &&
	       takes_up_to(req, req->core + req->core_count);
}

/*
 * Take the free blocks around a small request on free ones, as far as only the file system's blocks
 * lie between. Guests fill what they begin, so most of them are written soon.
 */
static void widen_region(struct bow_engine *img, struct bow_request *req)
{
	uint64_t end = req->core + req->core_count, from, to;

	/* What is being given back is LIVE yet. */
	if (!is_small_take(req) || bow_bitmap_count(img->giving))
		return;
	img->small_takes++;
	if (!find_region(img, req, &from, &to))
		return;
	keep_clear(img, req, true, &from, &to);
	from = req->core - open_before(img, from, req->core);
	to = end + open_behind(img, end, to);
	if (reserve(img, from, to - from))
		return;
	to = bow_max(end, take_runs(img, req, from, to));
	req->first = req->taken = from;
	req->count = req->taken_count = to - from;
}

uint64_t bow_request_widen(struct bow_engine *img, struct bow_request *req)
{
	uint64_t dests = widen_stream(img, req);

	if (req->count == req->core_count)
		dests = widen_group(img, req);
	if (req->count == req->core_count)
		widen_region(img, req);
	return dests;
}
