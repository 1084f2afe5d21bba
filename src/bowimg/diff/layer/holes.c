/* SPDX-License-Identifier: MIT */
/* A file with holes in a tar archive: the list of its pieces of data, in GNU's form 1.0. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bowimg/diff/layer/private.h"

/* The list of the pieces that follow, as text; *data_bytes is their length. NULL: out of memory. */
char *bow_layer_pax_map(struct archive_entry *e, size_t *map_bytes, uint64_t *data_bytes)
{
	const int64_t size = archive_entry_size(e);
	int n = archive_entry_sparse_reset(e), used = 0;
	int64_t off, bytes, end = 0;
	char *text = NULL;
	size_t room;
	FILE *out = open_memstream(&text, &room);

	if (!out)
		return NULL;
	*data_bytes = 0;
	/* Room for the count, which comes first: of fixed width, as a number may have zeros. */
	fprintf(out, "%010d\n", 0);
	while (n-- && archive_entry_sparse_next(e, &off, &bytes) == ARCHIVE_OK) {
		if (!bytes)
			continue;
		fprintf(out, "%" PRId64 "\n%" PRId64 "\n", off, bytes);
		*data_bytes += (uint64_t)bytes;
		end = off + bytes;
		used++;
	}
	/* An empty piece at the end marks a hole there. */
	if (end < size) {
		fprintf(out, "%" PRId64 "\n0\n", size);
		used++;
	}
	while (ftell(out) % BOW_PAX_BLOCK)
		putc('\0', out);
	if (fclose(out) != 0)
		return free(text), NULL;
	snprintf(text, 11, "%010d", used);
	text[10] = '\n';
	*map_bytes = room;
	return text;
}
