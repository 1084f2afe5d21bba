/* SPDX-License-Identifier: MIT */
/* Small checkpoints in several states, to flip bits in. */
#include "rot.h"

#include "lib/base/bytes.h"
#include "lib/format/format.h"

#define BLOCKS 22u
#define USED_A 5u
#define USED_B 9u
#define USED_Z 13u

enum life { CLEAN, KILLED, ROLLING_BACK, FINISHING_ROLLBACK, FINISHING_COMMIT };

struct variant {
	const char *name;
	enum life life;
	bool exact, can_grow;
	enum bowimg_store store;
};

static const struct variant variants[ROT_IMAGES] = {
	{"on a device, detached", CLEAN, false, false, BOWIMG_STORE_FREE},
	{"on a device, killed", KILLED, false, false, BOWIMG_STORE_FREE},
	{"exact, in a file, detached", CLEAN, true, true, BOWIMG_STORE_FREE},
	{"exact, in a file, killed", KILLED, true, true, BOWIMG_STORE_FREE},
	{"in the tail, detached", CLEAN, false, true, BOWIMG_STORE_TAIL},
	{"a rollback that was killed", ROLLING_BACK, false, true, BOWIMG_STORE_FREE},
	{"the last step of a rollback", FINISHING_ROLLBACK, true, true, BOWIMG_STORE_FREE},
	{"the last step of a commit", FINISHING_COMMIT, true, false, BOWIMG_STORE_FREE},
};

static void params_of(const struct variant *v, struct lab_params *p)
{
	uint32_t b;

	memset(p, 0, sizeof(*p));
	p->size = BLOCKS * SIM_BLOCK;
	p->sector_size = SIM_SECTOR;
	p->exact = v->exact;
	p->can_grow = p->has_mtime = v->can_grow;
	p->store = v->store;
	p->on_full = v->can_grow ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	for (b = 1; b < BLOCKS; b++)
		p->is_free[b] = b != USED_A && b != USED_B && b != USED_Z;
	rng_fill(p->uuid, sizeof(p->uuid), 0x5107);
}

static int request(struct lab *lab, enum lab_kind kind, uint32_t b, uint64_t bytes)
{
	struct lab_request req = {kind, (uint64_t)b * SIM_BLOCK, bytes, false};

	return lab_request(lab, &req);
}

/* Every sort of entry: saved, zero, taken, zero pending, zero done; a moved segment, an older one.
 */
static int serve(struct lab *lab)
{
	static const struct {
		enum lab_kind kind;
		uint32_t block;
		uint64_t bytes;
	} requests[] = {
		{LAB_WRITE, USED_A, SIM_BLOCK},
		{LAB_WRITE, 0, SIM_SECTOR},
		{LAB_ZERO, USED_Z, SIM_BLOCK},
		{LAB_DISCARD, 2, SIM_BLOCK * 2},
		{LAB_FLUSH, 0, 0},
		{LAB_WRITE, 1, SIM_SECTOR},
		{LAB_WRITE, USED_Z, SIM_SECTOR * 2},
		{LAB_FLUSH, 0, 0},
		{LAB_WRITE, USED_B, SIM_BLOCK},
		{LAB_FLUSH, 0, 0},
	};
	int rc = lab_attach(lab);
	size_t i;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]) && !rc; i++)
		rc = request(lab, requests[i].kind, requests[i].block, requests[i].bytes);
	return rc;
}

static bool in_state(struct lab *lab, enum bowimg_state state)
{
	struct bowimg_status st;

	return lab_status(lab, &st) == LAB_OK && st.state == state;
}

/* Kill an end at one operation after the other, until it leaves this state. */
static int interrupt(struct lab *lab, enum lab_end how, enum bowimg_state state)
{
	uint32_t tries = 0;
	int rc;

	do {
		lab->disk.die_at = lab->disk.ops + 5 + tries;
		rc = lab_end(lab, how);
		lab_kill(lab);
		if (rc != LAB_DEAD)
			return lab_bad(lab, "no end was interrupted in state %s",
				       bowimg_state_name(state));
	} while (!in_state(lab, state) && ++tries < 50);
	return tries < 50 ? LAB_OK
			  : lab_bad(lab, "it was never in state %s", bowimg_state_name(state));
}

static int lead_to(struct lab *lab, enum life life)
{
	int rc = lab_prepare(lab);

	if (!rc)
		rc = serve(lab);
	if (rc || life == KILLED) {
		lab_kill(lab);
		return rc;
	}
	rc = lab_detach(lab);
	if (rc || life == CLEAN)
		return rc;
	return interrupt(lab, life == FINISHING_COMMIT ? LAB_END_WIPE : LAB_END_ROLLBACK,
			 life == ROLLING_BACK ? BOWIMG_STATE_ROLLING_BACK : BOWIMG_STATE_FINISHING);
}

/* Block 0, and what differs in free blocks the guest never wrote; and the tail. */
static void find_written(struct rot_image *img)
{
	const struct lab *lab = img->lab;
	uint32_t b, blocks = (uint32_t)bow_div_up(lab->disk.size, SIM_BLOCK);
	const struct oracle *o = &lab->oracle;

	memset(img->written, 0, sizeof(img->written));
	for (b = 0; b < blocks && b < ROT_MAX_BLOCKS; b++) {
		const uint8_t *now = lab->disk.cache + (size_t)b * SIM_BLOCK;

		if (b >= o->blocks)
			img->written[b] = !bow_is_zero(now, SIM_BLOCK);
		else
			img->written[b] =
				b == 0 ||
				(o->is_free[b] && !o->sector[b * 8].known &&
				 memcmp(now, o->original + (size_t)b * SIM_BLOCK, SIM_BLOCK));
	}
}

static void find_last_record(struct rot_image *img)
{
	const uint8_t *bytes = img->lab->disk.cache;
	struct bow_super sb;
	uint64_t at, seq;
	uint32_t n;

	img->record_off = img->record_end = 0;
	if (bow_super_decode(bytes, &sb) != BOW_DECODE_OK)
		return;
	for (at = BOW_SEGMENT_HEADER_BYTES; at < sb.seg_len_blk * SIM_BLOCK;
	     at = bow_record_end(at, n, SIM_SECTOR)) {
		uint64_t off = sb.seg_blk * SIM_BLOCK + at;

		if (!bow_record_decode(bytes + off, sb.seg_len_blk * SIM_BLOCK - at, sb.seed, &seq,
				       &n))
			break;
		img->record_off = off;
		img->record_end = off + bow_record_bytes(n);
	}
}

bool rot_make(struct rot_image *img, struct lab *lab, uint32_t n)
{
	static const struct sim_cut all = {'p', UINT64_MAX, false};
	const struct variant *v = &variants[n];
	struct lab_params p;
	int rc;

	params_of(v, &p);
	lab_make_image(lab, &p, n);
	img->lab = lab;
	img->name = v->name;
	img->commit = v->life == FINISHING_COMMIT;
	img->killed = v->life == KILLED;
	rc = lead_to(lab, v->life);
	if (rc == LAB_REFUSED)
		lab_bad(lab, "it is too small");
	if (rc)
		return false;
	sim_power_cut(&lab->disk, &lab->disk, &all);
	find_written(img);
	find_last_record(img);
	return true;
}
