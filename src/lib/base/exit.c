/* SPDX-License-Identifier: MIT */
/* What a failure is for scripts. */
#include "lib/base/err.h"

int bowimg_exit_status(int code)
{
	static const struct {
		int name, status;
	} table[] = {
#define X(name, status, text) {name, status},
		BOWIMG_ERRORS(X)
#undef X
	};

	if (!code)
		return 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].name == -code)
			return table[i].status;
	return 1;
}
