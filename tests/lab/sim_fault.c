/* SPDX-License-Identifier: MIT */
/* What happens to an operation of the simulated disk before it has any effect. */
#include "sim_ops.h"

#include <inttypes.h>
#include "lib/base/bytes.h"

static const char *const op_names[] = {"read",	  "write", "zero", "resize",
				       "reserve", "flush", "meta"};

static void trace_op(struct sim_disk *disk, enum op_sort op, uint64_t off, uint64_t bytes,
		     const char *result)
{
	if (!disk->trace)
		return;
	fprintf(disk->trace, "    dev %-4" PRIu64 " %s", disk->ops, op_names[op]);
	if (op != OP_FLUSH)
		fprintf(disk->trace, " block %" PRIu64 "+%" PRIu64 " sectors %" PRIu64,
			off / SIM_BLOCK, off % SIM_BLOCK / SIM_SECTOR,
			bow_div_up(bytes, SIM_SECTOR));
	fprintf(disk->trace, "%s\n", result);
}

static bool fault_applies(enum sim_fault_kind kind, enum op_sort op)
{
	switch (kind) {
	case SIM_FAULT_EIO:
		return op != OP_META;
	case SIM_FAULT_ENOSPC:
		return op == OP_WRITE || op == OP_ZERO || op == OP_RESIZE || op == OP_RESERVE;
	case SIM_FAULT_SHORT:
		return op == OP_READ || op == OP_WRITE;
	case SIM_FAULT_EINTR:
		return op != OP_FLUSH && op != OP_META;
	case SIM_FAULT_LOST_SYNC:
		return op == OP_FLUSH;
	default:
		return false;
	}
}

/* A barrier that failed: the pages count as clean, whatever the storage has of them. */
static void lose_pending(struct sim_disk *disk)
{
	disk->cache_lies = true;
	disk->pending_count = 0;
	disk->pending_ops = 0;
}

static int fault_result(struct sim_disk *disk, uint64_t *bytes)
{
	disk->fault.fired++;
	switch (disk->fault.kind) {
	case SIM_FAULT_SHORT:
		if (*bytes > 1)
			*bytes /= 2;
		return 0;
	case SIM_FAULT_ENOSPC:
		return -ENOSPC;
	case SIM_FAULT_EINTR:
		/* Once in a row: for ever would be a machine that does nothing else. */
		disk->fault.countdown = disk->fault.forever ? 1 : 0;
		return -EINTR;
	case SIM_FAULT_LOST_SYNC:
		lose_pending(disk);
		return -EIO;
	default:
		return -EIO;
	}
}

static bool wrote_sector_0(const struct sim_disk *disk)
{
	const struct sim_pending *last = &disk->pending[disk->pending_count - 1];

	return disk->pending_count > 0 && !last->is_size && last->off == 0;
}

/* Count the operation and decide its fate: 0 or -errno. May shorten *bytes. */
int sim_enter(struct sim_disk *disk, enum op_sort op, uint64_t off, uint64_t *bytes)
{
	if (op != OP_READ && op != OP_META && !disk->dead) {
		disk->ops++;
		disk->changes += op != OP_FLUSH && op != OP_RESERVE;
		disk->dead = (disk->die_at && disk->ops >= disk->die_at) ||
			     (disk->die_at_sector_0 && op == OP_FLUSH && wrote_sector_0(disk));
	}
	if (disk->dead) {
		trace_op(disk, op, off, *bytes, " -- dead");
		return -EIO;
	}
	if (fault_applies(disk->fault.kind, op)) {
		bool once_done = disk->fault.fired && !disk->fault.forever;

		if (disk->fault.countdown > 0)
			disk->fault.countdown--;
		else if (!once_done) {
			trace_op(disk, op, off, *bytes, " -- FAULT");
			return fault_result(disk, bytes);
		}
	}
	if (op != OP_READ && op != OP_META)
		trace_op(disk, op, off, *bytes, "");
	return 0;
}
