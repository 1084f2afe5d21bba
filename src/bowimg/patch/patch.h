/* SPDX-License-Identifier: MIT */
/*
 * Patches: what a checkpoint changed, as an archive that can be carried elsewhere and applied
 * there. bowimg-patch(5) describes the format and its words: a patch is a head, then runs in
 * ascending order, then an end. Runs come in pieces, so that neither the writer nor the reader
 * needs memory in proportion to a patch.
 */
#ifndef BOW_PATCH_PATCH_H
#define BOW_PATCH_PATCH_H

#include "lib/base/err.h"

/* Limits of the format, in bytes unless said otherwise. */
#define BOW_PATCH_RUN_MAX (1u << 20)
#define BOW_PATCH_PIECE_RUNS 2048u	 /* runs in a piece */
#define BOW_PATCH_PIECE_BYTES (8u << 20) /* data of a piece */

enum bow_patch_direction { BOW_PATCH_UNDO = 1, BOW_PATCH_REDO };

/* How the archive is compressed. */
enum bow_patch_pack { BOW_PATCH_NONE = 1, BOW_PATCH_GZIP, BOW_PATCH_ZSTD };

struct bow_patch_head {
	enum bow_patch_direction direction;
	uint64_t image_size; /* bytes */
	bool exact;	     /* free blocks count as content: they were zeros at prepare */
	char checkpoint[37]; /* UUID in text */
};

/* "Before" and "after" mean: applying the patch. */
struct bow_patch_run {
	uint64_t off;
	uint32_t bytes;	 /* 1 to BOW_PATCH_RUN_MAX */
	bool any;	 /* whatever was there before */
	bool zero;	 /* zeros afterwards; the archive has no data for it */
	uint64_t before; /* xxh3-64 of the content, seed 0; of no meaning if `any` */
	uint64_t after;
};

struct bow_patch_totals {
	uint64_t runs, run_bytes; /* all runs */
	uint64_t data_bytes;	  /* those that are not zeros */
};

/* ---- json.c: the members that are JSON; pure ------------------------------------- */

/* The encoders return text for free(), NULL: out of memory. */
char *bow_patch_head_encode(const struct bow_patch_head *head);
char *bow_patch_piece_encode(const struct bow_patch_run *runs, unsigned n);
char *bow_patch_end_encode(const struct bow_patch_totals *totals, uint64_t hash);

/* -EUCLEAN malformed, -EOPNOTSUPP another format, version or feature. */
int bow_patch_head_decode(const char *text, size_t bytes, struct bow_patch_head *head,
			  struct bowimg_error *err);
/* One to BOW_PATCH_PIECE_RUNS runs; the caller checks their places. */
int bow_patch_piece_decode(const char *text, size_t bytes, struct bow_patch_run *runs, unsigned *n,
			   struct bowimg_error *err);
int bow_patch_end_decode(const char *text, size_t bytes, struct bow_patch_totals *totals,
			 uint64_t *hash, struct bowimg_error *err);

/* ---- write.c --------------------------------------------------------------------- */

struct bow_patch_writer;

/* An archive to fd, which stays the caller's and need not be seekable. */
int bow_patch_writer_open(int fd, enum bow_patch_pack pack, const struct bow_patch_head *head,
			  struct bow_patch_writer **out, struct bowimg_error *err);

/* Add the next run; `after` is its content, also if run->zero. This sets run->after. */
int bow_patch_writer_add(struct bow_patch_writer *w, const struct bow_patch_run *run,
			 const void *after, struct bowimg_error *err);

/* Write the rest and the end. Only then it is a patch. */
int bow_patch_writer_finish(struct bow_patch_writer *w, struct bow_patch_totals *totals,
			    struct bowimg_error *err);

/* Release; NULL is accepted. */
void bow_patch_writer_free(struct bow_patch_writer *w);

/* ---- unpack.c: decompression, within limits -------------------------------------- */

struct bow_patch_unpack;

/* Read from the offset of fd on, which stays the caller's. -EOPNOTSUPP: compressed by xz. */
int bow_patch_unpack_open(int fd, struct bow_patch_unpack **out, struct bowimg_error *err);

/* Unpack at most so many bytes in all; then -EUCLEAN. */
void bow_patch_unpack_limit(struct bow_patch_unpack *u, uint64_t bytes);

/*
 * Returns the number of the next bytes, which are valid until the next call; 0 at the end; -errno.
 */
int64_t bow_patch_unpack_next(struct bow_patch_unpack *u, const void **block,
			      struct bowimg_error *err);

/* Are all bytes that were unpacked so far zeros, from byte `off` on? */
bool bow_patch_unpack_zero_from(const struct bow_patch_unpack *u, uint64_t off);

void bow_patch_unpack_close(struct bow_patch_unpack *u);

/* ---- read.c ---------------------------------------------------------------------- */

struct bow_patch_reader;

/*
 * Read a patch from where fd is. Everything is checked before it is returned. -EOPNOTSUPP: this is
 * no patch, or it needs a newer program; -EUCLEAN: it is malformed or cut off; -EBADMSG: a checksum
 * does not match.
 */
int bow_patch_reader_open(int fd, struct bow_patch_reader **out, struct bowimg_error *err);

const struct bow_patch_head *bow_patch_reader_head(const struct bow_patch_reader *r);

/*
 * Returns 1 with the next run and its content afterwards (also if that is zeros), valid until the
 * next call; 0 at the end of a whole patch; -errno.
 */
int bow_patch_reader_next(struct bow_patch_reader *r, struct bow_patch_run *run, const void **after,
			  struct bowimg_error *err);

void bow_patch_reader_totals(const struct bow_patch_reader *r, struct bow_patch_totals *out);
void bow_patch_reader_close(struct bow_patch_reader *r);

/* ---- file.c: where patches are read from ----------------------------------------- */

/*
 * The patch at `path`, or standard input if that is "-", as a descriptor that can be read twice: a
 * pipe is copied to a file without a name in TMPDIR (or /var/tmp). -ENOSPC: no room there. The
 * caller closes *fd.
 */
int bow_patch_input_open(const char *path, int *fd, struct bowimg_error *err);

/* ---- export.c, apply.c ----------------------------------------------------------- */

struct bow_patch_export_options {
	struct bowimg_events events;
	enum bow_patch_direction direction;
	enum bow_patch_pack pack;
	const char *mark; /* what was changed since this one; NULL: since prepare */
	unsigned force;	  /* BOWIMG_FORCE_CHANGED */
};

/*
 * Write what the open checkpoint of the image changed to fd. -ENODATA, -EINPROGRESS, -EBUSY the
 * image is in use, -EUCLEAN, -EBADMSG, -ESTALE, -ENOSPC.
 */
int bow_patch_export(const char *image, int fd, const struct bow_patch_export_options *opts,
		     struct bow_patch_totals *totals, struct bowimg_error *err);

struct bow_patch_apply_options {
	/* `stop` is asked between runs: true leaves or makes the image as it was. */
	struct bowimg_events events;
	bool dry_run;	       /* check everything, change nothing */
	const char *name;      /* what to call the patch in messages */
	const char *free_from; /* as in bowimg_prepare_options; NULL: see apply.c */
};

struct bow_patch_apply_report {
	struct bow_patch_head head;
	struct bow_patch_totals totals;
	bool already; /* the patch was applied before */
};

/*
 * Apply the patch in fd, which must be seekable and at its start. It is applied as a whole or not
 * at all. -ESTALE: the image is not what the patch expects; also the errors of
 * bow_patch_reader_open(), bowimg_prepare() and bowimg_open(). Then the image is as it was, or err
 * has the command that makes it so.
 */
int bow_patch_apply(int fd, const char *image, const struct bow_patch_apply_options *opts,
		    struct bow_patch_apply_report *report, struct bowimg_error *err);

#endif
