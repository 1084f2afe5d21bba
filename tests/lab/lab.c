/* SPDX-License-Identifier: MIT */
/* A laboratory's making, copying and judging: see lab.h. */
#include "lab.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include "lib/base/bytes.h"

static void hook_write(void *ctx, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	order_before_write(&((struct lab *)ctx)->order, off, data, bytes);
}

static void hook_shrink(void *ctx, uint64_t size)
{
	order_before_shrink(&((struct lab *)ctx)->order, size);
}

static void set_hooks(struct lab *lab)
{
	lab->disk.hooks.write = hook_write;
	lab->disk.hooks.shrink = hook_shrink;
	lab->disk.hooks.ctx = lab;
}

void lab_keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	mallopt(M_TOP_PAD, 64 << 20);
}

int lab_init(struct lab *lab, uint32_t max_blocks)
{
	uint64_t max_size = (uint64_t)max_blocks * SIM_BLOCK;
	uint64_t tail = max_blocks <= LAB_SMALL_BLOCKS ? 2 * max_blocks : LAB_TAIL_BLOCKS;

	memset(lab, 0, sizeof(*lab));
	if (sim_init(&lab->disk, max_size + tail * SIM_BLOCK))
		return -1;
	if (oracle_init(&lab->oracle, max_size)) {
		sim_release(&lab->disk);
		return -1;
	}
	lab->buf = malloc(max_size);
	lab->image = malloc(max_size);
	if (lab->buf && lab->image)
		return 0;
	lab_release(lab);
	return -1;
}

void lab_release(struct lab *lab)
{
	lab_kill(lab);
	sim_release(&lab->disk);
	oracle_release(&lab->oracle);
	free(lab->buf);
	free(lab->image);
}

static void make_block(struct lab *lab, uint32_t b)
{
	uint64_t off = (uint64_t)b * SIM_BLOCK;
	uint64_t bytes = bow_min(SIM_BLOCK, lab->p.size - off);
	bool zeros = lab->p.is_free[b] ? lab->p.exact || lab->p.sparse || rng_chance(&lab->rng, 50)
				       : b > 0 && (lab->p.blank ||
						   rng_chance(&lab->rng, lab->p.sparse ? 97 : 15));

	if (zeros)
		return;
	memset(lab->buf, 0, SIM_BLOCK);
	rng_fill(lab->buf, bytes, lab->next_token++);
	if (b > 0 && rng_chance(&lab->rng, 15))
		memset(lab->buf + SIM_SECTOR, 0, SIM_SECTOR * 3);
	sim_load(&lab->disk, off, lab->buf, bytes);
}

void lab_make_image(struct lab *lab, const struct lab_params *p, uint64_t seed)
{
	uint32_t b, blocks = (uint32_t)bow_div_up(p->size, SIM_BLOCK);

	lab_kill(lab);
	lab->p = *p;
	lab->rng.state = rng_mix(seed, 0x1ab);
	lab->next_token = rng_mix(seed, 0x70ce4);
	lab->why[0] = '\0';
	lab->intent = lab->before = LAB_PREPARE;
	lab->stream_off = 0;
	lab->story = NO_STORY;
	lab->marked = lab->was_marked = false;
	sim_format(&lab->disk, p->size, p->sector_size, p->can_grow);
	if (p->can_grow && p->host_limit)
		lab->disk.host_limit = p->host_limit;
	lab->disk.has_mtime = p->has_mtime;
	lab->disk.dev.queue_depth = p->queue_depth;
	lab->disk.trace = lab->trace;
	for (b = 0; b < blocks; b++)
		make_block(lab, b);
	set_hooks(lab);
}

static void copy_params(struct lab_params *dst, const struct lab_params *src)
{
	size_t blocks = bow_div_up(src->size, SIM_BLOCK);

	memcpy(dst, src, offsetof(struct lab_params, is_free) + blocks * sizeof(src->is_free[0]));
}

void lab_fork(struct lab *dst, const struct lab *src, const struct sim_cut *cut, uint64_t seed)
{
	lab_kill(dst);
	copy_params(&dst->p, &src->p);
	dst->unbroken = false;
	dst->rng.state = seed;
	dst->next_token = rng_mix(src->next_token, seed);
	dst->intent = src->intent;
	dst->before = src->before;
	dst->reverted = src->reverted;
	dst->marked = src->marked;
	dst->was_marked = src->was_marked;
	memcpy(dst->subject, src->subject, sizeof(dst->subject));
	dst->story = NO_STORY;
	dst->why[0] = '\0';
	dst->disk.trace = dst->trace;
	sim_power_cut(&dst->disk, &src->disk, cut);
	dst->disk.fault = (struct sim_fault){0};
	dst->disk.hooks = (struct sim_hooks){0};
	set_hooks(dst);
	oracle_copy(&dst->oracle, &src->oracle);
	order_copy(&dst->order, &src->order, &dst->disk, &dst->oracle);
}

int lab_bad(struct lab *lab, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(lab->why, sizeof(lab->why), fmt, ap);
	va_end(ap);
	lab_trace(lab, "!!! %s", lab->why);
	return LAB_BAD;
}

void lab_trace(struct lab *lab, const char *fmt, ...)
{
	va_list ap;

	if (!lab->trace)
		return;
	va_start(ap, fmt);
	vfprintf(lab->trace, fmt, ap);
	va_end(ap);
	fputc('\n', lab->trace);
}

bool lab_faulted(const struct lab *lab)
{
	return lab->disk.fault.fired || (lab->alloc_faults && lab->alloc_faults());
}

int lab_judge(struct lab *lab, int rc, const char *what)
{
	if (lab->order.on && lab->order.why[0])
		return lab_bad(lab, "%s", lab->order.why);
	if (lab->disk.dead)
		return LAB_DEAD;
	if (rc == 0)
		return LAB_OK;
	if (rc > 0 || lab->err.code != rc || strlen(lab->err.message) < 10 ||
	    strstr(lab->err.message, "(null)"))
		return lab_bad(lab, "%s: returned %d without saying why (error %d, \"%s\")", what,
			       rc, lab->err.code, lab->err.message);
	if (lab_faulted(lab)) {
		lab_trace(lab, "%s failed: %s", what, lab->err.message);
		return LAB_FAULT;
	}
	return lab_bad(lab, "%s: error %d: %s", what, rc, lab->err.message);
}
