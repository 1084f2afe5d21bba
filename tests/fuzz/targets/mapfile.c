/* SPDX-License-Identifier: MIT */
/* A map in ddrescue's format: 3 bytes that give the image's size, then the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "lib/freespace/freemap.h"

#define HEAD 3u

static void read_map(const char *path, uint64_t image_size)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(image_size, BOW_BLOCK));
	struct bow_freemap_info info = {0};
	struct bowimg_error err = {0};
	uint64_t partial = image_size % BOW_BLOCK ? image_size / BOW_BLOCK : 0;

	if (!map)
		abort();
	if (!fuzz_check_error(bow_freemap_mapfile(path, image_size, map, &info, &err), &err)) {
		if (bow_bitmap_test(map, 0) || (partial && bow_bitmap_test(map, partial)))
			fuzz_die("block 0 or the partial last block is free");
		if (info.fs_free_bytes > image_size)
			fuzz_die("more is free than there is");
	} else if (bow_bitmap_count(map)) {
		fuzz_die("a refused map has marked blocks");
	}
	bow_bitmap_free(map);
}

static void run(const uint8_t *data, size_t size)
{
	char path[64];
	int fd;

	if (size < HEAD)
		return;
	fd = memfd_create("fuzz-map", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data + HEAD, size - HEAD) != (ssize_t)(size - HEAD))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_map(path, BOWIMG_MIN_SIZE + bow_get16(data) * (uint64_t)(1 + 37 * data[2]));
	close(fd);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	static const char *const files[] = {
		"# Map\n0 ? 1\n0x00000000 0x00008000 +\n0x00008000 0x00004000 ?\n49152 16384 -\n",
		"# partclone\r\n0 +\r\n0 4096 + # used\r\n4096 61440 ?\r\n",
		"0x10 * 2\n4096 0x2000 *\n0x2000 0x1000 /\n020000 010000 ?\n",
	};

	if (i >= sizeof(files) / sizeof(files[0]))
		return false;
	fuzz_put(out, "\0\x10\0", HEAD);
	fuzz_put(out, files[i], strlen(files[i]));
	return true;
}

const struct fuzz_target fuzz_mapfile = {"mapfile", run, seed, NULL};
