/* SPDX-License-Identifier: MIT */
/* Requests of the guest in the laboratory: made, told to the oracle, compared. */
#include "lab.h"

#include <errno.h>
#include "lib/base/bytes.h"
#include "disk_before.h"
#include "pieces.h"

static const char *const kind_names[] = {"WRITE", "FUA", "ZERO", "DISCARD", "READ", "FLUSH"};

/* What is said to be zeros was read as zeros just now. */
static int check_extents(struct lab *lab, uint64_t off, uint64_t bytes)
{
	uint64_t done = 0, reach = 0;
	bool zero = false;
	int rc;

	for (; done < bytes; done += reach) {
		rc = bowimg_disk_extent(lab->engine, off + done, &zero, &reach, &lab->err);
		rc = lab_judge(lab, rc, "extent");
		if (rc)
			return rc;
		if (reach == 0 || reach > lab->p.size - off - done)
			return lab_bad(lab, "an extent of %llu bytes at %llu",
				       (unsigned long long)reach, (unsigned long long)(off + done));
		if (zero && !bow_is_zero(lab->image + done, bow_min(reach, bytes - done)))
			return lab_bad(lab, "at %llu data is said to be zeros",
				       (unsigned long long)(off + done));
	}
	return LAB_OK;
}

static int check_read(struct lab *lab, uint64_t off, uint64_t bytes)
{
	int rc = bowimg_disk_read(lab->engine, lab->image, bytes, off, &lab->err);

	rc = lab_judge(lab, rc, "read");
	if (rc)
		return rc;
	if (!oracle_check_read(&lab->oracle, off, lab->image, bytes))
		return lab_bad(lab, "%s", lab->oracle.why);
	return LAB_OK;
}

int lab_read_before(struct lab *lab, uint64_t off, uint64_t bytes)
{
	int rc = disk_read_before(lab->engine, lab->image, bytes, off, &lab->err);

	rc = lab_judge(lab, rc, "read what was before");
	return rc ? rc : lab_check_before(lab, off, lab->image, bytes);
}

int lab_read_all(struct lab *lab)
{
	uint64_t off, n;
	int rc = LAB_OK;

	for (off = 0; off < lab->p.size && !rc; off += n) {
		n = bow_min(LAB_PIECE, lab->p.size - off);
		rc = check_read(lab, off, n);
	}
	return rc;
}

/* Every sector of a refused request is the old or the new one: learn which. */
static int settle_refused(struct lab *lab, uint64_t off, uint64_t bytes)
{
	uint64_t low = off / SIM_SECTOR * SIM_SECTOR;
	uint64_t high = bow_min(bow_div_up(off + bytes, SIM_SECTOR) * SIM_SECTOR, lab->p.size);
	uint64_t pad = bow_div_up(lab->p.size, SIM_BLOCK) * SIM_BLOCK - lab->p.size;
	int rc;

	memset(lab->image + lab->p.size, 0, pad);
	rc = bowimg_disk_read(lab->engine, lab->image + low, high - low, low, &lab->err);
	rc = lab_judge(lab, rc, "read after a refusal");
	if (rc)
		return rc;
	if (!oracle_settle_refused(&lab->oracle, lab->image + low, low, high - low))
		return lab_bad(lab, "refused request: %s", lab->oracle.why);
	return LAB_REFUSED;
}

static const uint8_t *content(struct lab *lab, const struct lab_request *req)
{
	if (req->kind == LAB_ZERO)
		return NULL;
	if (req->old_content)
		memcpy(lab->buf, lab->oracle.original + req->off, req->bytes);
	else
		rng_fill(lab->buf, req->bytes, lab->next_token++);
	return lab->buf;
}

/* Some are made in pieces. The choices of the requests to come do not depend on that. */
static int write_data(struct lab *lab, const struct lab_request *req, const uint8_t *data,
		      unsigned flags)
{
	uint64_t seed = rng_mix(req->off, req->bytes);
	int rc;

	if (req->bytes < 2 || seed % 3)
		return bowimg_disk_write(lab->engine, data, req->bytes, req->off, flags, &lab->err);
	rc = pieces_write(lab->engine, data, req->bytes, req->off, seed, &lab->err);
	return !rc && flags & BOWIMG_FUA ? bowimg_disk_flush(lab->engine, &lab->err) : rc;
}

static int change(struct lab *lab, const struct lab_request *req)
{
	const uint8_t *data = content(lab, req);
	unsigned flags = req->kind == LAB_FUA ? BOWIMG_FUA : 0;
	int rc;

	oracle_may_become(&lab->oracle, req->off, data, req->bytes);
	if (data)
		rc = write_data(lab, req, data, flags);
	else
		rc = bowimg_disk_zero(lab->engine, req->off, req->bytes, flags, &lab->err);
	if (rc == -ENOSPC && !lab->disk.dead)
		return settle_refused(lab, req->off, req->bytes);
	rc = lab_judge(lab, rc, kind_names[req->kind]);
	if (rc)
		oracle_uncertain(&lab->oracle, req->off, req->bytes);
	if (rc)
		return rc;
	oracle_became(&lab->oracle, req->off, data, req->bytes);
	if (req->kind == LAB_FUA)
		oracle_flushed(&lab->oracle, req->off, req->bytes);
	return LAB_OK;
}

static int discard(struct lab *lab, const struct lab_request *req)
{
	int rc;

	oracle_may_discard(&lab->oracle, req->off, req->bytes);
	rc = bowimg_disk_discard(lab->engine, req->off, req->bytes, &lab->err);
	if (rc == -ENOSPC && !lab->disk.dead) {
		oracle_discarded(&lab->oracle, req->off, req->bytes);
		return LAB_REFUSED;
	}
	rc = lab_judge(lab, rc, "discard");
	if (!rc)
		oracle_discarded(&lab->oracle, req->off, req->bytes);
	return rc;
}

static int flush(struct lab *lab)
{
	int rc = bowimg_disk_flush(lab->engine, &lab->err);

	if (rc == -ENOSPC && !lab->disk.dead && !lab_faulted(lab))
		return lab_bad(lab, "flush: out of space for what was accepted: %s",
			       lab->err.message);
	rc = lab_judge(lab, rc, "flush");
	if (!rc)
		oracle_flushed(&lab->oracle, 0, lab->p.size);
	return rc;
}

int lab_request(struct lab *lab, const struct lab_request *req)
{
	lab_trace(lab, "  %s block %llu byte %llu, %llu bytes%s", kind_names[req->kind],
		  (unsigned long long)(req->off / SIM_BLOCK),
		  (unsigned long long)(req->off % SIM_BLOCK), (unsigned long long)req->bytes,
		  req->old_content ? " (the original again)" : "");
	memset(&lab->err, 0, sizeof(lab->err));
	switch (req->kind) {
	case LAB_FLUSH:
		return flush(lab);
	case LAB_READ:
		return check_read(lab, req->off, req->bytes)
			       ?: check_extents(lab, req->off, req->bytes);
	case LAB_DISCARD:
		return discard(lab, req);
	default:
		return change(lab, req);
	}
}

static enum lab_kind choose_kind(struct lab *lab)
{
	uint32_t n = rng_below(&lab->rng, 100);

	/* An oracle with too many versions to remember needs a flush before anything else. */
	if (lab->oracle.fullest >= ORACLE_VALUES - 3)
		return LAB_FLUSH;
	return n < 52	? LAB_WRITE
	       : n < 57 ? LAB_FUA
	       : n < 70 ? LAB_ZERO
	       : n < 78 ? LAB_DISCARD
	       : n < 88 ? LAB_READ
			: LAB_FLUSH;
}

/* A free block that bowimg has written to: most likely it holds a backup or a piece of the log. */
static uint32_t choose_held(struct lab *lab)
{
	uint32_t blocks = lab->oracle.blocks, b = rng_below(&lab->rng, blocks), i;

	for (i = 0; i < blocks; i++, b = (b + 1) % blocks) {
		const uint8_t *now = lab->disk.cache + (size_t)b * SIM_BLOCK;

		if (lab->p.is_free[b] && (lab->disk.touched[b] || !lab->oracle.empty[b]) &&
		    (b + 1) * (uint64_t)SIM_BLOCK <= lab->p.size &&
		    memcmp(now, lab->oracle.current + (size_t)b * SIM_BLOCK, SIM_BLOCK))
			return b;
	}
	return b;
}

static bool all_known(const struct oracle *o, uint64_t off, uint64_t bytes)
{
	uint64_t i;

	for (i = off / SIM_SECTOR; i < bow_div_up(off + bytes, SIM_SECTOR); i++)
		if (!o->sector[i].known)
			return false;
	return true;
}

/* Whole blocks, whole sectors or odd bytes; the latter only where the rest of a sector is known. */
static void choose_range(struct lab *lab, uint32_t max_blocks, struct lab_request *req)
{
	static const uint32_t units[] = {SIM_BLOCK, SIM_SECTOR, 1};
	uint32_t unit = units[rng_below(&lab->rng, 100) * 3 / 115];
	uint32_t blocks = lab->oracle.blocks, span = rng_chance(&lab->rng, 70) ? 1 : max_blocks;
	uint32_t b = rng_chance(&lab->rng, 30) ? choose_held(lab) : rng_below(&lab->rng, blocks);
	uint64_t max_bytes = (uint64_t)rng_between(&lab->rng, 1, span) * SIM_BLOCK, low, high;

	/* Some blocks are asked for again and again, so that requests have something in common. */
	if (rng_chance(&lab->rng, 30))
		b = blocks * (1 + 2 * rng_below(&lab->rng, 3)) / 7;
	if (rng_chance(&lab->rng, 8))
		b = 0;
	low = (uint64_t)b * SIM_BLOCK + rng_below(&lab->rng, SIM_BLOCK / unit) * (uint64_t)unit;
	low = bow_min(low, lab->p.size - 1);
	high = low + (rng_below(&lab->rng, (uint32_t)(max_bytes / unit)) + 1) * (uint64_t)unit;
	high = bow_min(high, lab->p.size);
	if (req->kind == LAB_DISCARD || !all_known(&lab->oracle, low, high - low)) {
		low = low / SIM_SECTOR * SIM_SECTOR;
		high = bow_min(bow_div_up(high, SIM_SECTOR) * SIM_SECTOR, lab->p.size);
	}
	req->off = low;
	req->bytes = high - low;
}

/* Zeros, a flush, a write there: three in a row that chance alone brings together too rarely. */
static bool go_on_with_story(struct lab *lab, struct lab_request *req)
{
	bool flushed = lab->story == ZEROED_FLUSHED;

	if (lab->story == NO_STORY || !rng_chance(&lab->rng, flushed ? 70 : 40))
		return false;
	lab->story = flushed ? NO_STORY : ZEROED_FLUSHED;
	req->kind = flushed ? LAB_WRITE : LAB_FLUSH;
	req->off = flushed ? lab->zeroed_off : 0;
	req->bytes = flushed ? bow_min(SIM_SECTOR, lab->p.size - req->off) : 0;
	return true;
}

void lab_choose(struct lab *lab, uint32_t max_blocks, struct lab_request *req)
{
	memset(req, 0, sizeof(*req));
	req->kind = choose_kind(lab);
	if (req->kind != LAB_FLUSH && go_on_with_story(lab, req))
		return;
	if (req->kind == LAB_FLUSH)
		return;
	choose_range(lab, max_blocks, req);
	req->old_content = rng_chance(&lab->rng, 12);
	lab->story = req->kind == LAB_ZERO ? ZEROED : NO_STORY;
	lab->zeroed_off = bow_div_up(req->off, SIM_BLOCK) * SIM_BLOCK;
	if (lab->zeroed_off >= lab->p.size)
		lab->story = NO_STORY;
}

/* Some blocks more of a stream, or a small write in its neighbourhood. */
static void choose_in_stream(struct lab *lab, struct lab_request *req)
{
	uint64_t off = lab->stream_off, bytes = (uint64_t)rng_between(&lab->rng, 1, 40) * SIM_BLOCK;

	if (rng_chance(&lab->rng, 40)) {
		off += rng_below(&lab->rng, 64) * (uint64_t)SIM_BLOCK;
		bytes = SIM_BLOCK;
	}
	off = bow_min(off, (lab->oracle.blocks - 1) * (uint64_t)SIM_BLOCK);
	bytes = bow_min(bytes, lab->p.size - off);
	if (off == lab->stream_off)
		lab->stream_off += bytes;
	*req = (struct lab_request){.kind = LAB_WRITE, .off = off, .bytes = bytes};
}

void lab_choose_near(struct lab *lab, struct lab_request *req)
{
	if (lab->oracle.fullest >= ORACLE_VALUES - 3 || rng_chance(&lab->rng, 30)) {
		lab_choose(lab, rng_chance(&lab->rng, 80) ? 40 : 600, req);
		return;
	}
	if (rng_chance(&lab->rng, 12))
		lab->stream_off = rng_below(&lab->rng, lab->oracle.blocks) * (uint64_t)SIM_BLOCK;
	choose_in_stream(lab, req);
}
