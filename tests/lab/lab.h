/* SPDX-License-Identifier: MIT */
/*
 * A laboratory: one simulated disk, the engine on it, the oracle beside it. Every call makes one
 * request of the engine, tells the oracle, and compares; so a test is only the choice of requests.
 */
#ifndef TESTS_LAB_H
#define TESTS_LAB_H

#include "lib/verbs/operations.h"
#include "oracle.h"
#include "order.h"
#include "rng.h"
#include "sim_dev.h"

#define LAB_SMALL_BLOCKS 320u  /* of most images; the disk has room for a tail beyond */
#define LAB_MAX_BLOCKS 16640u  /* of the largest: 65 MiB */
#define LAB_TAIL_BLOCKS 10240u /* the tail's room behind an image larger than the usual */

#define LAB_PIECE \
	(512u << 10) /* bytes of an image that are read and compared while they are near */

/* Blocks of the plan of an end, which has no place but free blocks on a device (rule 11). */
#define LAB_DEVICE_WINDOW 4u

enum lab_result {
	LAB_OK = 0,
	LAB_DEAD,    /* the disk died under the request, as arranged */
	LAB_REFUSED, /* a refusal that is allowed: no space */
	LAB_FAULT,   /* it failed, and properly, because of an injected fault */
	LAB_BAD	     /* something is wrong: lab->why */
};

/* What was begun last; it decides which states a crash may leave. */
enum lab_intent {
	LAB_PREPARE,
	LAB_SERVE,
	LAB_ROLLBACK,
	LAB_COMMIT,
	LAB_AGAIN,
	LAB_MARK, /* and the ones below: whether it happened is not known yet */
	LAB_UNMARK,
	LAB_TO,
	LAB_INTENTS
};

/* The ways to end a checkpoint. */
enum lab_end { LAB_END_ROLLBACK, LAB_END_AGAIN, LAB_END_COMMIT, LAB_END_WIPE };

struct lab_params {
	uint64_t size;
	uint64_t host_limit; /* no growth past this; 0: the disk's capacity */
	uint32_t sector_size;
	unsigned queue_depth; /* above 1 no state can be repeated exactly */
	bool can_grow, exact, has_mtime;
	enum bowimg_store store;
	enum bowimg_on_full on_full;
	enum bowimg_durability durability;
	bool sparse; /* of the used blocks most are zeros, so that a large image costs little */
	bool blank;  /* all of them are, but block 0 */
	uint8_t uuid[16];
	bool is_free[LAB_MAX_BLOCKS]; /* last: copied as far as the image reaches */
};

struct lab {
	struct lab_params p;
	struct sim_disk disk;
	struct oracle oracle;
	struct order order;
	bowimg_disk *engine; /* NULL: nobody serves the disk */
	enum lab_intent intent;
	char subject[ORACLE_NAME]; /* MARK, UNMARK, TO: the name of the mark */
	uint64_t reverted; /* the newest record in the log that a rollback to a mark began with */
	uint64_t revert_seen;	/* the same when it was looked for last */
	bool marked;		/* there was a mark once in this checkpoint, */
	bool was_marked;	/* or in one before, whose end may come back */
	enum lab_intent before; /* what ended the checkpoint before this one; PREPARE: none did */
	enum { NO_STORY, ZEROED, ZEROED_FLUSHED } story; /* what the next request may go on with */
	uint64_t zeroed_off;
	uint64_t stream_off; /* where the next request of a sequential writer begins */
	int carry;	     /* 0, or what each process that serves leaves to the next */
	uint64_t given_blk;  /* given back by all engines so far */
	bool unbroken;	     /* nothing was killed or cut since the checkpoint was opened */
	struct rng rng;
	uint64_t next_token;  /* contents are numbered: none is used twice */
	uint8_t *buf, *image; /* scratch: a request's data, the whole disk */
	struct bowimg_error err;
	char why[768];
	FILE *trace;
	uint64_t (*alloc_faults)(void); /* NULL, or how many allocations were made to fail */
};

/* Let the allocator keep what is freed: an engine's buffers come and go thousands of times. */
void lab_keep_memory(void);

/* For images of at most `max_blocks`. */
int lab_init(struct lab *lab, uint32_t max_blocks);
void lab_release(struct lab *lab);

/* A new disk with an image as the parameters say: unique content, some used blocks all zeros. */
void lab_make_image(struct lab *lab, const struct lab_params *p, uint64_t seed);

/* Is a mark being made, deleted or gone back to, and nobody knows yet how that ended? */
static inline bool lab_undecided(const struct lab *lab)
{
	return lab->intent >= LAB_MARK;
}

/* The same parameters, oracle and disk after a power cut; nobody serves dst. */
void lab_fork(struct lab *dst, const struct lab *src, const struct sim_cut *cut, uint64_t seed);

/* LAB_BAD and lab->why. */
int lab_bad(struct lab *lab, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void lab_trace(struct lab *lab, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An injected fault has fired, so requests may fail. */
bool lab_faulted(const struct lab *lab);

/*
 * After an engine call returned rc: LAB_OK, LAB_DEAD when the disk died in it (any error is right
 * then), LAB_FAULT if a fault was injected and the error is put into words, else LAB_BAD. A
 * violated order of writes is LAB_BAD whatever rc is.
 */
int lab_judge(struct lab *lab, int rc, const char *what);

/* ---- lab_life.c: the life of a checkpoint ---------------------------------------- */

/* Prepare on the disk as it is now, which is the original from here on. */
int lab_prepare(struct lab *lab);
int lab_attach(struct lab *lab);
int lab_detach(struct lab *lab);
/* The serving process is gone, with everything it had in memory; the disk's cache survives. */
void lab_kill(struct lab *lab);

int lab_status(struct lab *lab, struct bowimg_status *st);
int lab_verify(struct lab *lab);
/*
 * Everything that only looks, in this state: verify, prepare -n, rollback -n, commit -n. They must
 * succeed where the real thing would, be refused in words elsewhere, and write nothing.
 */
int lab_look(struct lab *lab, enum bowimg_state state);
/*
 * Open the checkpoint for looking: before, now, and what is said to have changed. `settled`: the
 * oracle knows what is now.
 */
int lab_look_at_both(struct lab *lab, bool settled);
/* What was read as the disk before: used blocks are the original, free ones zeros if exact. */
int lab_check_before(struct lab *lab, uint64_t off, const uint8_t *bytes, uint64_t count);
/* Run rollback or commit, whatever the state; compares nothing but what a wipe leaves. */
int lab_end(struct lab *lab, enum lab_end how);
/* The checkpoint is over and the image is as the intent promised. */
int lab_check_ended(struct lab *lab, bool commit, bool torn);
int lab_check_used(struct lab *lab);
/* After a rollback that was to leave a fresh checkpoint: check it, and begin anew. */
int lab_begin_again(struct lab *lab);
/* Attached after a crash: what the guest reads now is admissible. */
int lab_settle(struct lab *lab, bool power, bool torn);

/* ---- lab_marks.c: marks of an image that nobody serves --------------------------- */

/*
 * Each compares what the disk is then, and what it was at every mark. LAB_REFUSED: no space, and
 * nothing changed. After LAB_DEAD lab->intent stays what it was until it is decided.
 */
int lab_mark(struct lab *lab, bool power, bool torn); /* the last two: see lab_settle() */
int lab_unmark(struct lab *lab, uint32_t n);
int lab_to(struct lab *lab, uint32_t n);
/* The same mark again, after it was cut. */
int lab_to_again(struct lab *lab);

/* Does the log say that what was begun has happened? */
int lab_marks_happened(struct lab *lab, bool *happened);
/* That is durable: tell the oracle. Serving goes on then. */
int lab_marks_decide(struct lab *lab, bool happened, bool power, bool torn);

/* The log has the oracle's marks and no others, and a view of each is what was there. */
int lab_check_marks(struct lab *lab);
/* Of a view, or of a disk that is served. mark NULL: prepare. */
int lab_check_at(struct lab *lab, bowimg_disk *disk, const struct oracle_mark *mark);

/* ---- lab_guest.c: requests of the guest, all checked ----------------------------- */

enum lab_kind { LAB_WRITE, LAB_FUA, LAB_ZERO, LAB_DISCARD, LAB_READ, LAB_FLUSH };

struct lab_request {
	enum lab_kind kind;
	uint64_t off, bytes;
	bool old_content; /* write what was there at prepare; else content never seen before */
};

int lab_request(struct lab *lab, const struct lab_request *req);
int lab_read_all(struct lab *lab);
/* As it was at prepare. */
int lab_read_before(struct lab *lab, uint64_t off, uint64_t bytes);

/* A request chosen by lab->rng: any kind, any size up to max_blocks, any state of block. */
void lab_choose(struct lab *lab, uint32_t max_blocks, struct lab_request *req);
/* The same on a large image: in a few places, so that requests meet, and streams in order. */
void lab_choose_near(struct lab *lab, struct lab_request *req);

#endif
