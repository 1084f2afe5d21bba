/* SPDX-License-Identifier: MIT */
/*
 * Fuzzing: what every target shares. A target is a function of bytes that must come back whatever
 * they are; what must never happen ends in fuzz_die(). libfuzzer/driver.c gives it to libFuzzer,
 * test_replay.c runs it on files.
 *
 * A structure on disk has checksums, and random bytes have none that are right. So the input is no
 * image but a description of one (build.c), in which everything is free but the checksums.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "lib/log/log.h"
#include "lib/verbs/open.h"

/* Bytes that grow; a test may abort when memory is out. */
struct fuzz_buf {
	uint8_t *bytes;
	size_t n, room;
};
void fuzz_put(struct fuzz_buf *b, const void *bytes, size_t n);
void fuzz_buf_release(struct fuzz_buf *b);

struct fuzz_target {
	const char *name;
	void (*run)(const uint8_t *data, size_t size);
	/* The i-th example that is as it should be; false: there are no more. */
	bool (*seed)(unsigned i, struct fuzz_buf *out);
	/* NULL, or changes that fit its input; returns the new size, of at most max. */
	size_t (*mutate)(uint8_t *data, size_t size, size_t max, uint64_t seed);
};

extern const struct fuzz_target fuzz_super, fuzz_log, fuzz_map, fuzz_mapfile, fuzz_finish,
	fuzz_image, fuzz_dmbow, fuzz_table, fuzz_patch;
/* All of them; NULL ends the list. */
extern const struct fuzz_target *const fuzz_targets[];

/* Something happened that must not, whatever the bytes. */
_Noreturn void fuzz_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* An error came with words, and success with none of a failure's codes. Returns rc. */
int fuzz_check_error(int rc, const struct bowimg_error *err);
/* For seeds: nothing is wrong with them, so from here on every call must work, until it need not.
 */
void fuzz_expect_success(bool yes);
bool fuzz_succeeded(void); /* whatever had to since the last fuzz_expect_success(true) */

/* ---- fence.c: a device that notices what nobody may do --------------------------- */

struct fuzz_fence {
	struct bowimg_disk dev; /* must be first */
	struct bowimg_disk *inner;
	bool look_only; /* any write at all is wrong */
	bool cut;	/* -EIO from the writes that come after so many: */
	uint32_t writes_left;
	bool cut_at_finishing; /* cut once the superblock says so */
	uint8_t *touched;      /* per block of the image at the start: written or zeroed since */
	uint64_t touched_blk;
};
/* Takes inner over; the blocks it has now are watched. */
void fuzz_fence_init(struct fuzz_fence *f, struct bowimg_disk *inner);
void fuzz_fence_release(struct fuzz_fence *f);

/* ---- build.c, dump.c: bytes to an image and back --------------------------------- */

#define FUZZ_DEVICE 1u /* a block device; else a file */
#define FUZZ_FIT 2u    /* the superblock and the headers have the image's size */
#define FUZZ_SECTOR_4K 4u
#define FUZZ_NOTE 8u  /* sectors 1-7 are the note */
#define FUZZ_LOST 16u /* sector 0 is overwritten at the end: for rescue */
#define FUZZ_HEAD 8u  /* bytes before the pieces: flags, op, blocks (2), odd bytes (2), tail (2) */
#define FUZZ_MAX_BLK 512u

enum fuzz_piece { FUZZ_SUPER, FUZZ_SEGMENT, FUZZ_RAW, FUZZ_LIST, FUZZ_FOOTER, FUZZ_PIECES };

struct fuzz_built {
	struct bowimg_disk *dev; /* in memory */
	struct bow_super sb;	 /* as in sector 0, if `super` */
	bool super;
	uint8_t op;
};
/* False if the bytes describe nothing; then there is nothing to release. */
bool fuzz_build(const uint8_t *data, size_t size, struct fuzz_built *out);

/* The description of a real image. */
void fuzz_dump(struct bowimg_disk *dev, uint8_t flags, uint8_t op, struct fuzz_buf *out);

/* mutate.c: another description of an image. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t max, uint64_t seed);

/* ---- seeds.c: real images -------------------------------------------------------- */

#define FUZZ_LIVES 12u
/* The i-th real image with a checkpoint, of i < FUZZ_LIVES: the caller closes it. */
struct bowimg_disk *fuzz_life(unsigned i);
/* The same, cut in the last step of its end. */
struct bowimg_disk *fuzz_finishing_life(unsigned i, bool commit);

/* ---- model.c: what a rollback must come to --------------------------------------- */

/* The image after a replay of the log, backwards, step by step; NULL if the log cannot be read. */
uint8_t *fuzz_replay(struct bowimg_disk *dev, const struct bow_super *sb);

#endif
