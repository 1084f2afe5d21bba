/* SPDX-License-Identifier: MIT */
/*
 * Two image files as the two versions of a comparison: what changed is found by comparing them, and
 * every read is counted. So the comparison of files is tested without an engine below it.
 */
#ifndef TESTS_DIFF_PAIR_H
#define TESTS_DIFF_PAIR_H

#include "bowimg/diff/diff.h"
#include "lib/disk/disk.h"

struct diff_pair {
	struct diff_pair_disk {
		struct bowimg_disk disk; /* must be first */
		struct diff_pair *pair;
		int fd;
	} version[2]; /* by enum bow_version */
	uint64_t size;
	uint64_t requests, bytes;  /* read so far */
	bool (*inject)(void *ctx); /* NULL, or: fail this read */
	void *inject_ctx;
	struct bow_diff_source source;
};

void diff_pair_open(struct diff_pair *p, const char *now, const char *before);
void diff_pair_close(struct diff_pair *p);

/* Compare the whole of both. */
int diff_pair_run(struct diff_pair *p, bool all_links, struct bow_diff **out,
		  struct bowimg_error *err);

/*
 * The items as text, a line each: "+/path", "-/path", "*" or ">/old>/path" for renamed, with
 * letters behind a blank for what differs: t(ype) c(ontent) s(ize) m(ode) o(wner) d(ate) x(attrs)
 * l(ink) n (device number). To be freed.
 */
char *diff_pair_text(const struct bow_diff *d);

#endif
