/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/size.h"

#include <inttypes.h>
#include <stdio.h>

struct bow_cli_size bow_cli_human(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct bow_cli_size size;
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(size.text, sizeof(size.text), "%" PRIu64 " bytes", bytes);
		return size;
	}
	/* 1023.95 would print as "1024.0" */
	for (; value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	snprintf(size.text, sizeof(size.text), "%.1f %s", value, units[unit]);
	return size;
}

struct bow_cli_size bow_cli_ago(uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "days"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	struct bow_cli_size size;
	unsigned unit = 0;

	/* From two of a unit on, so that no more than half is cut off. */
	while (units[unit].seconds > 1 && seconds < 2 * units[unit].seconds)
		unit++;
	snprintf(size.text, sizeof(size.text), "%" PRIu64 " %s", seconds / units[unit].seconds,
		 units[unit].name);
	return size;
}
