/* SPDX-License-Identifier: MIT */
/* The order of writes [I1, I2], checked at every write: see order.h. */
#include "order.h"

#include <stdio.h>
#include <string.h>
#include "lib/base/bytes.h"

void order_start(struct order *order, const struct sim_disk *disk, const struct oracle *oracle)
{
	memset(order, 0, offsetof(struct order, changed));
	memset(order->changed, 0, oracle->blocks * sizeof(order->changed[0]));
	memset(order->found, 0, oracle->blocks * sizeof(order->found[0]));
	order->disk = disk;
	order->oracle = oracle;
	order->on = true;
}

void order_copy(struct order *dst, const struct order *src, const struct sim_disk *disk,
		const struct oracle *oracle)
{
	memcpy(dst, src, offsetof(struct order, changed));
	memcpy(dst->changed, src->changed, oracle->blocks * sizeof(src->changed[0]));
	memcpy(dst->found, src->found, oracle->blocks * sizeof(src->found[0]));
	dst->disk = disk;
	dst->oracle = oracle;
}

/* Bytes of block b that belong to the disk; the last block may be partial. */
static uint64_t real_bytes(const struct order *order, uint32_t b)
{
	return bow_min(SIM_BLOCK, order->oracle->size - (uint64_t)b * SIM_BLOCK);
}

static const uint8_t *original_of(const struct order *order, uint32_t b)
{
	return order->oracle->original + (size_t)b * SIM_BLOCK;
}

static bool may_hold_copies(const struct order *order, uint32_t b)
{
	return b >= order->oracle->blocks || order->oracle->is_free[b];
}

static bool holds_original(const struct order *order, const uint8_t *bytes, uint32_t at,
			   uint32_t of)
{
	const uint8_t *got = bytes + (size_t)at * SIM_BLOCK;
	uint64_t real = real_bytes(order, of), key;

	memcpy(&key, got, sizeof(key));
	return (key == order->oracle->key[of] || real < sizeof(key)) &&
	       memcmp(got, original_of(order, of), real) == 0;
}

/* Is the original of `of` stable anywhere but in block `except`? */
static bool has_stable_copy(struct order *order, uint32_t of, uint32_t except)
{
	uint32_t end = (uint32_t)(order->disk->used / SIM_BLOCK), b = order->found[of];

	if (b != 0 && b != except && b < end && holds_original(order, order->disk->stable, b, of))
		return true;
	for (b = 1; b < end; b++) {
		if (b == except || !order->disk->touched[b] || !may_hold_copies(order, b) ||
		    !holds_original(order, order->disk->stable, b, of))
			continue;
		order->found[of] = b;
		return true;
	}
	return false;
}

void order_resume(struct order *order)
{
	uint32_t b;

	order->on = true;
	for (b = 0; b < order->oracle->blocks; b++)
		order->changed[b] = !order->oracle->is_free[b] &&
				    (order->disk->touched[b] || !order->oracle->blank[b]) &&
				    !holds_original(order, order->disk->cache, b, b);
}

static bool is_intact(struct order *order, uint32_t b)
{
	if (order->changed[b] && holds_original(order, order->disk->stable, b, b) &&
	    holds_original(order, order->disk->cache, b, b))
		order->changed[b] = false;
	return !order->changed[b];
}

static void complain(struct order *order, const char *rule, uint32_t b, uint32_t of)
{
	if (order->why[0])
		return;
	snprintf(order->why, sizeof(order->why),
		 "%s: block %u is overwritten at device operation %llu, and no other stable copy "
		 "of block %u's original exists",
		 rule, b, (unsigned long long)order->disk->ops, of);
}

/* [I1] data NULL: zeros. */
static void check_used(struct order *order, uint32_t b, uint32_t start, const uint8_t *data,
		       uint32_t bytes)
{
	const uint8_t *original = original_of(order, b);

	if (data ? memcmp(data, original + start, bytes) == 0
		 : order->oracle->blank[b] || bow_is_zero(original + start, bytes))
		return;
	order->changed[b] = true;
	if (!order->oracle->blank[b] && !has_stable_copy(order, b, b))
		complain(order, "I1", b, b);
}

/* [I2] */
static void check_holder(struct order *order, uint32_t b)
{
	uint32_t of;

	for (of = order->block_0_may_move; of < order->oracle->blocks; of++) {
		if (!order->changed[of] || order->oracle->is_free[of] || order->oracle->blank[of] ||
		    !holds_original(order, order->disk->stable, b, of))
			continue;
		if (!is_intact(order, of) && !has_stable_copy(order, of, b))
			complain(order, "I2", b, of);
	}
}

void order_before_write(struct order *order, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint64_t at = off;

	if (!order->on)
		return;
	while (at < off + bytes) {
		uint32_t b = (uint32_t)(at / SIM_BLOCK), start = (uint32_t)(at % SIM_BLOCK);
		uint32_t count = (uint32_t)bow_min(SIM_BLOCK - start, off + bytes - at);
		const uint8_t *part = data ? data + (at - off) : NULL;
		const uint8_t *old = order->disk->stable + at;

		if (!may_hold_copies(order, b))
			check_used(order, b, start, part, count);
		else if (!order->disk->touched[b])
			; /* zeros: nobody's only copy */
		else if (part ? memcmp(old, part, count) : !bow_is_zero(old, count))
			check_holder(order, b);
		at += count;
	}
}

void order_before_shrink(struct order *order, uint64_t size)
{
	uint64_t end = order->disk->used / SIM_BLOCK;
	uint64_t b = bow_div_up(size, SIM_BLOCK);

	for (; order->on && b < end; b++)
		if (order->disk->touched[b])
			check_holder(order, (uint32_t)b);
}
