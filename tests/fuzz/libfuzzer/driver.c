/* SPDX-License-Identifier: MIT */
/* One target for libFuzzer: the one whose name is in FUZZ_TARGET. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max); /* libFuzzer's own */

static const struct fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = getenv("FUZZ_TARGET");

	(void)argc;
	(void)argv;
	for (const struct fuzz_target *const *t = fuzz_targets; name && *t; t++)
		if (!strcmp((*t)->name, name))
			target = *t;
	if (!target)
		fuzz_die("FUZZ_TARGET names no target");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	target->run(data, size);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	if (!target->mutate || seed % 3 == 0)
		return LLVMFuzzerMutate(data, size, max);
	return target->mutate(data, size, max, seed);
}
