/* SPDX-License-Identifier: MIT */
/*
 * libbowimg: undo for disk images ("backup on write" in user space).
 *
 * A checkpoint is opened on a raw image or disk with bowimg_prepare(). While it is open, everything
 * that writes to the disk goes through a handle from bowimg_open(): before a used block is
 * overwritten for the first time, its content is copied into the image's own free space and an
 * entry naming the copy is logged. bowimg_rollback() brings every used block back, bowimg_commit()
 * keeps the changes. The idea is that of Android's dm-bow (Paul Lawrence, LKML 2018); the on-disk
 * format and the order of writes are described in bowimg-format(5).
 *
 * Conventions. Offsets and sizes are bytes unless a name ends in _blk. Every call that can fail
 * returns 0 or a negative errno value from BOWIMG_ERRORS (or -EIO, -ENOMEM, -EINVAL and whatever
 * the operating system said), and fills *err unless err is NULL. Nothing is printed. Options
 * structures filled with zeros mean "defaults". Out-parameters are written on success only.
 * A path of an image may also be the URI of an NBD export (nbd://, nbds://, nbd+unix://,
 * nbds+unix://): -EOPNOTSUPP if the server lacks what is needed (flushes, above all), or if the
 * library was built without libnbd.
 */
#ifndef BOWIMG_H
#define BOWIMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOWIMG_VERSION "0.1.0"

/* The unit of backups, in bytes, whatever the file system's own block size is. */
#define BOWIMG_BLOCK_SIZE 4096u

/* The smallest image that can hold a checkpoint, in bytes. */
#define BOWIMG_MIN_SIZE 65536u

/*
 * Errors with a fixed meaning: errno, exit status of the program, what it means.
 * Everything else a call returns is an ordinary I/O error (exit status 1).
 */
#define BOWIMG_ERRORS(X)                                                     \
	X(ENODATA, 3, "no checkpoint is open on this image")                 \
	X(EALREADY, 3, "a checkpoint is open on this image already")         \
	X(EBUSY, 4, "in use by somebody else, or locked")                    \
	X(ENOSPC, 5, "no space left for a backup")                           \
	X(EUCLEAN, 6, "malformed structure on disk")                         \
	X(EBADMSG, 6, "checksum mismatch")                                   \
	X(ESTALE, 7, "the image was changed behind bowimg's back")           \
	X(EINPROGRESS, 8, "an interrupted operation must be finished first") \
	X(EOPNOTSUPP, 9, "not supported")

/* Fixed-size error text; no allocation, so it works when memory has run out. */
struct bowimg_error {
	int code;	   /* the negative errno the call returned; 0 if none */
	char message[512]; /* what was attempted, on which object, why it failed; outermost first */
	char hint[256];	   /* what to do next; may be empty */
};

/* Exit status for an error code (negative errno or 0), by BOWIMG_ERRORS. */
int bowimg_exit_status(int code);

/* The library's version, as BOWIMG_VERSION at its build. */
const char *bowimg_version(void);

/* "not given" is distinct from both answers, so that defaults can depend on the image. */
enum bowimg_choice { BOWIMG_DEFAULT = 0, BOWIMG_NO, BOWIMG_YES };

/* Where backups and the log go: the image's free blocks, or past the end of the file. */
enum bowimg_store { BOWIMG_STORE_FREE = 0, BOWIMG_STORE_TAIL };

/* What happens when the free blocks are used up. */
enum bowimg_on_full { BOWIMG_ON_FULL_DEFAULT = 0, BOWIMG_ON_FULL_STOP, BOWIMG_ON_FULL_TAIL };

/*
 * POWER: what is acknowledged as flushed survives a power cut, and the image can be rolled back
 * after one. PROCESS: no barriers; safe against a killed process, not against a power cut.
 */
enum bowimg_durability { BOWIMG_DURABILITY_POWER = 0, BOWIMG_DURABILITY_PROCESS };

/* Checks that may be overridden, for the `force` members below. */
#define BOWIMG_FORCE_CHANGED 1u /* go on although size or mtime say the image was changed */
/* Of a disk that dm-bow left, where its log or a backup is damaged (nothing else looks at these):
 */
#define BOWIMG_FORCE_PARTIAL 2u /* rollback: bring back what is whole */
#define BOWIMG_FORCE_FORWARD 4u /* rollback: commit instead; commit: trust block 0 alone */

/*
 * A file system on an image, lent to somebody while bowimg_prepare() reads its free map. The calls
 * for I/O are like those under "serving"; any number of threads at once.
 */
typedef struct bowimg_volume bowimg_volume;

uint64_t bowimg_volume_size(const bowimg_volume *vol);
int bowimg_volume_read(bowimg_volume *vol, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err);
/* These two take back what was discarded there. -EROFS: it is lent for reading only. */
int bowimg_volume_write(bowimg_volume *vol, const void *buf, size_t bytes, uint64_t off,
			unsigned flags, struct bowimg_error *err);
int bowimg_volume_zero(bowimg_volume *vol, uint64_t off, uint64_t bytes, unsigned flags,
		       struct bowimg_error *err);
/* Free, by the file system's own word. Changes nothing on the image. */
int bowimg_volume_discard(bowimg_volume *vol, uint64_t off, uint64_t bytes,
			  struct bowimg_error *err);
int bowimg_volume_flush(bowimg_volume *vol, struct bowimg_error *err);

/* What the library needs others for when it reads a free map. A NULL member: nobody does that. */
struct bowimg_helpers {
	/*
	 * For a program that reads files: *fd is a descriptor of one that holds the volume's bytes,
	 * and a write to it fails. It stays the helper's; hide() ends it, with *shown. The
	 * volume may be read by other threads until then.
	 */
	int (*show)(void *ctx, bowimg_volume *vol, int *fd, void **shown, struct bowimg_error *err);
	void (*hide)(void *ctx, void *shown);
	/*
	 * Mount the volume, which holds a file system of this type (as libblkid calls it), for
	 * reading, let it discard what is free, unmount it. Requests for zeros and those that come
	 * while it is being mounted go to bowimg_volume_zero(). When this returns, none comes any
	 * more. -EOPNOTSUPP: it cannot be done here.
	 */
	int (*trim)(void *ctx, bowimg_volume *vol, const char *fs_type, struct bowimg_error *err);
	void *ctx;
};

/* Called back during long work and for warnings, from the calling thread. NULL members are skipped.
 */
struct bowimg_events {
	/* `done` of `total` bytes of `what` ("verify", "restore", "zero", "read free map"). */
	void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
	/* One sentence without newline that the user should see; nothing failed. */
	void (*notice)(void *ctx, const char *text);
	void *ctx;
	const struct bowimg_helpers *helpers; /* for bowimg_prepare() and bowimg_map() */
};

/* ---- state ------------------------------------------------------------------------------- */

enum bowimg_state {
	BOWIMG_STATE_NONE = 0,	   /* an ordinary image */
	BOWIMG_STATE_CHECKPOINT,   /* prepared; may be served, rolled back, committed */
	BOWIMG_STATE_ROLLING_BACK, /* a rollback was interrupted; only rollback may go on */
	BOWIMG_STATE_COMMITTING,   /* a commit was interrupted; only commit may go on */
	BOWIMG_STATE_FINISHING,	   /* all but the last step is done; `next` says what ends it */
	BOWIMG_STATE_INTERRUPTED   /* prepare was interrupted; rollback undoes the little it did */
};

/* "none", "checkpoint", "rolling-back", "committing", "finishing", "interrupted". */
const char *bowimg_state_name(enum bowimg_state state);

struct bowimg_status {
	enum bowimg_state state;
	char format[16];       /* "bowimg", "dm-bow", or "" when state is NONE */
	char uuid[37];	       /* the checkpoint's UUID in text, or "" */
	char free_source[16];  /* "ext", "map", "none", ... */
	uint64_t virtual_size; /* bytes the guest sees */
	uint32_t block_size;   /* bytes; of what dm-bow left 512 to 4096, else 4096 */
	bool exact;	       /* rollback restores the whole image's bytes, free space included */
	bool attached;	       /* a serving process did not (yet) end cleanly */
	bool in_use;	       /* somebody holds the image's lock right now */
	bool store_tail;       /* backups go past the end of the file from the start */
	enum bowimg_on_full on_full;
	uint64_t free_total_bytes; /* free when the checkpoint was opened */
	uint64_t free_left_bytes;  /* still free for backups or new data */
	uint64_t backup_bytes;	   /* copies of overwritten blocks */
	uint64_t changed_bytes;	   /* used blocks overwritten since prepare (zeroes included) */
	uint64_t log_bytes;	   /* log segments */
	uint64_t entries;	   /* log entries */
	uint64_t tail_bytes;	   /* bytes past the image's end that belong to bowimg */
	char next[256];		   /* what can be done now, one sentence */
};

/*
 * Look at an image without changing it; works while somebody else serves it.
 * Errors: -EUCLEAN/-EBADMSG damaged log, -ESTALE sector 0 is ours but the rest of block 0 is not,
 * or the image was changed since it was detached (unless forced).
 */
int bowimg_status(const char *path, unsigned force, struct bowimg_status *out,
		  struct bowimg_error *err);

/* ---- partitions -------------------------------------------------------------------------- */

/* Disks with more than this are not supported. */
#define BOWIMG_PARTITIONS_MAX 128u

/* One partition of a GPT or MBR. Texts come from the disk: any bytes, but no control characters. */
struct bowimg_partition {
	uint32_t number;     /* as the kernel counts: logical ones of an MBR from 5 on */
	uint64_t off, bytes; /* on the whole disk */
	char table[8];	     /* "gpt", "dos" */
	char type[40];	     /* GPT: the type's UUID; MBR: "0x83" */
	char name[112];	     /* GPT: its label; may be empty */
	char content[32];    /* by its signature: "ext4", "vfat", "swap", "crypto_LUKS"; or "" */
	char source[16];     /* prepare: where its free map came from; "" if all of it is used */
	uint64_t free_bytes; /* prepare: in whole blocks */
	char why_not[192];   /* prepare: why all of it counts as used; else "" */
};

/*
 * The partitions of the disk on an image, as its guest sees them now, in the order of the disk; an
 * extended partition is not one of them. Works with and without a checkpoint, and while the image
 * is served. A non-zero return of `partition` ends the walk and is returned; what it is given lasts
 * for the call. Without a partition table: no call, 0. -EUCLEAN: the table is damaged;
 * -EOPNOTSUPP: it is ambiguous or of another kind; else as bowimg_status().
 */
int bowimg_partitions(const char *path,
		      int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		      struct bowimg_error *err);

/* ---- prepare ----------------------------------------------------------------------------- */

struct bowimg_prepare_options {
	/* "auto" (NULL), "ext", "partclone", "trim", "map:FILE", "none"; borrowed. "trim" needs
	 * events.helpers, "partclone" does for parts of an image. */
	const char *free_from;
	enum bowimg_choice exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full;
	bool dry_run; /* change nothing, only report */
	struct bowimg_events events;
	/*
	 * Called for each partition of a partitioned disk when the free map has been read, before
	 * anything is written; NULL: not wanted. *p lasts for the call.
	 */
	void (*partition)(void *ctx, const struct bowimg_partition *p);
	void *partition_ctx;
};

struct bowimg_prepare_report {
	char free_source[16]; /* of a partitioned disk: all of them, as in "ext+swap" */
	char what[128];	      /* what was found on the image: "ext4, 1024-byte blocks" */
	char why_source[128]; /* the reason for `free_source`, one clause, or "" */
	char why_exact[128];  /* the reason for `exact`, one clause */
	bool exact;
	bool store_tail;
	enum bowimg_on_full on_full;
	uint64_t image_size;
	uint64_t fs_free_bytes;	   /* free by the source's word, before rounding to whole blocks */
	uint64_t free_total_bytes; /* free blocks bowimg may use */
	uint64_t free_left_bytes;  /* of these, left after the log, the map and block 0's copies */
};

/*
 * Open a checkpoint on an image or block device that nobody uses.
 * Errors: -EALREADY, -EINPROGRESS, -EBUSY (mounted, attached, locked), -ENOSPC (no free block and
 * no tail), -EUCLEAN (the file system needs a journal replay or a check), -EOPNOTSUPP (not an
 * image, too small, another image format, unknown file system), -EROFS, -EACCES.
 */
int bowimg_prepare(const char *path, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- learning the free map from a guest's trims ------------------------------------------ */

/*
 * An image without a checkpoint, served while a guest runs that trims what it does not need. A trim
 * changes nothing on the image; a write or zero takes its range back. What is written here cannot
 * be undone: the checkpoint comes afterwards. The calls for I/O are like those under "serving".
 */
typedef struct bowimg_learner bowimg_learner;

/* Errors as of bowimg_prepare(), as far as they can be known yet. */
int bowimg_learn_open(const char *path, bowimg_learner **out, struct bowimg_error *err);

uint64_t bowimg_learn_size(const bowimg_learner *learner);
int bowimg_learn_read(bowimg_learner *learner, void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err);
int bowimg_learn_write(bowimg_learner *learner, const void *buf, size_t bytes, uint64_t off,
		       unsigned flags, struct bowimg_error *err);
int bowimg_learn_zero(bowimg_learner *learner, uint64_t off, uint64_t bytes, unsigned flags,
		      struct bowimg_error *err);
int bowimg_learn_discard(bowimg_learner *learner, uint64_t off, uint64_t bytes,
			 struct bowimg_error *err);
int bowimg_learn_flush(bowimg_learner *learner, struct bowimg_error *err);

/*
 * Flush and release; with `opts` (whose free_from is not looked at), open a checkpoint first, whose
 * free map is what was trimmed and not written since. No other call may be in flight. The handle is
 * gone even when an error is returned. -ENOSPC: nothing was trimmed. NULL is accepted.
 */
int bowimg_learn_close(bowimg_learner *learner, const struct bowimg_prepare_options *opts,
		       struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- serving ----------------------------------------------------------------------------- */

/* An image with an open checkpoint, served to a guest. Several may be open in one process. */
typedef struct bowimg bowimg;

struct bowimg_open_options {
	enum bowimg_durability durability;
	unsigned force;		     /* BOWIMG_FORCE_CHANGED */
	struct bowimg_events events; /* notices may come from any serving thread */
};

/*
 * Attach: recovers from a crash by itself, then serves. The handle belongs to the caller, who ends
 * it with bowimg_close(). Errors: -ENODATA, -EINPROGRESS, -EBUSY, -EUCLEAN, -EBADMSG, -ESTALE.
 */
int bowimg_open(const char *path, const struct bowimg_open_options *opts, bowimg **out,
		struct bowimg_error *err);

/* Size of the disk in bytes, as the guest sees it; constant. */
uint64_t bowimg_size(const bowimg *img);

#define BOWIMG_FUA 1u /* durable before the call returns */

/*
 * I/O. Any offset and length inside the disk; any number of threads at once. A write that returned
 * is visible to every later read; it is durable after bowimg_flush() or with BOWIMG_FUA.
 * Overlapping writes in flight at the same time may land in either order, block by block.
 * Errors: -EINVAL beyond the end, -ENOSPC no room for a backup (nothing of this request's refused
 * part was written, everything can still be rolled back), -EIO, and -EIO for ever after a barrier
 * failed.
 */
int bowimg_read(bowimg *img, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err);
int bowimg_write(bowimg *img, const void *buf, size_t bytes, uint64_t off, unsigned flags,
		 struct bowimg_error *err);

/* The range reads as zeros afterwards. Costs no copy and no space where nothing was overwritten. */
int bowimg_zero(bowimg *img, uint64_t off, uint64_t bytes, unsigned flags,
		struct bowimg_error *err);

/* The guest does not need the content of this range any more; it may read as anything. */
int bowimg_discard(bowimg *img, uint64_t off, uint64_t bytes, struct bowimg_error *err);

/*
 * Read the disk as it was at prepare, whatever is being written meanwhile: used blocks bit for bit,
 * free ones as zeros in exact mode, else as they read now. The first call that meets an overwritten
 * block reads the log, and takes memory for it (32 bytes for each backup, which is of up to 64
 * blocks); handles that are never asked need neither. A backup is checked when it is first read.
 * Errors: -EINVAL beyond the end, -ENOMEM, -EUCLEAN/-EBADMSG damaged log or backup.
 */
int bowimg_read_before(bowimg *img, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err);

/* Everything acknowledged before the call is durable when it returns 0. */
int bowimg_flush(bowimg *img, struct bowimg_error *err);

/*
 * Does the disk read as zeros from `off` on, as far as that can be told without reading? *bytes
 * says how far the answer holds, at least 1, at most to the end of the disk; the next range may
 * have the same. Without *zero there is data, which may be zeros, too. Errors: -EINVAL beyond the
 * end, -EIO.
 */
int bowimg_extent(bowimg *img, uint64_t off, bool *zero, uint64_t *bytes, struct bowimg_error *err);

/* As bowimg_partitions(), for the disk of a handle. */
int bowimg_disk_partitions(bowimg *img,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err);

struct bowimg_counters {
	uint64_t free_total_bytes, free_left_bytes, backup_bytes, changed_bytes, log_bytes;
	uint64_t tail_bytes, relocated_bytes, barriers;
	bool failed; /* a barrier failed: writes are refused until the image is opened anew */
};
void bowimg_get_counters(const bowimg *img, struct bowimg_counters *out);

/*
 * Detach: flush, note a clean end, release. The handle is gone even when an error is returned; the
 * image can then be opened again as after a crash. NULL is accepted.
 */
int bowimg_close(bowimg *img, struct bowimg_error *err);

/* ---- ending a checkpoint ----------------------------------------------------------------- */

struct bowimg_end_options {
	bool dry_run;	/* rollback: verify everything and report; commit: report */
	bool again;	/* rollback: leave a fresh checkpoint with the same free map */
	bool wipe;	/* commit: zero what the backups and the log held */
	unsigned force; /* BOWIMG_FORCE_CHANGED */
	struct bowimg_events events;
};

struct bowimg_end_report {
	enum bowimg_state before; /* the state the image was found in */
	bool exact;
	uint64_t entries;	 /* log entries read */
	uint64_t restored_bytes; /* rollback: brought back (dry run: would be) */
	uint64_t zeroed_bytes;	 /* zeroed, in either direction */
	bool dm_bow;		 /* the checkpoint was one of the kernel's dm-bow */
	bool forward;		 /* BOWIMG_FORCE_FORWARD: it was damaged, and so committed */
	uint64_t lost_entries;	 /* BOWIMG_FORCE_PARTIAL: damaged, and so not brought back */
};

/*
 * Bring back every used block; in exact mode the whole image. The whole log and every backup are
 * verified before the first restoring write. May be run again after being killed anywhere.
 * Errors: -ENODATA nothing to roll back, -EBUSY, -EUCLEAN/-EBADMSG damaged (nothing was changed),
 * -EINPROGRESS a commit was begun and must be finished, -ENOSPC the host has no room: run it again.
 */
int bowimg_rollback(const char *path, const struct bowimg_end_options *opts,
		    struct bowimg_end_report *report, struct bowimg_error *err);

/* Keep the changes. Same rules as bowimg_rollback(). */
int bowimg_commit(const char *path, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err);

/* Would a rollback work, right now? Reads the log and checks every backup; writes nothing. */
int bowimg_verify(const char *path, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err);

/* ---- rescue ------------------------------------------------------------------------------- */

struct bowimg_rescue_options {
	bool write;	/* put sector 0 back; else only look and report */
	unsigned force; /* BOWIMG_FORCE_CHANGED: although it looks like an ordinary image */
	struct bowimg_events events;
};

struct bowimg_rescue_report {
	char uuid[37];	       /* of the checkpoint that was found */
	uint64_t virtual_size; /* bytes the guest sees */
	int64_t prepared_at;   /* seconds since the epoch */
	bool exact;
	bool note_found;      /* the rest of block 0 is as a checkpoint has it */
	bool only_rollback;   /* block 0's newest content cannot be found: no commit, no serving */
	bool written;	      /* sector 0 is in place again */
	uint64_t segment_off; /* where the newest log segment begins */
	uint64_t entries, changed_bytes, backup_bytes; /* as in bowimg_status */
};

/*
 * Find the open checkpoint of an image whose sector 0 was overwritten or damaged, by scanning the
 * whole image for its log; check the log and every backup; with `write`, make sector 0 and the note
 * anew. The image can then be rolled back, served or committed (see only_rollback). Whether a
 * rollback or commit had been begun is not found out: if so, the same one must follow.
 * Errors: -EALREADY the superblock is whole, -EUCLEAN/-EBADMSG no log, or a damaged one, or two
 * that are equally new, -ESTALE the size has changed or it looks like an image whose checkpoint has
 * ended (unless forced), -EBUSY.
 */
int bowimg_rescue(const char *path, const struct bowimg_rescue_options *opts,
		  struct bowimg_rescue_report *report, struct bowimg_error *err);

/* ---- looking closer ---------------------------------------------------------------------- */

/* Of a disk that dm-bow left, blocks are of the size that bowimg_status() says. */
struct bowimg_log_entry {
	uint64_t segment_blk; /* where the entry's log segment begins */
	uint64_t sequence;    /* of its record */
	const char *
		type; /* "copy", "move", "zero", "take", "promise", "lift", "map-run", "map-bits";
			 of dm-bow "copy", "move", "log" (a log block), "live" (block 0's newest) */
	uint64_t source_blk, dest_blk, count_blk;
	uint64_t hash;
};

/* The log from the newest entry to the oldest. A non-zero return of `entry` ends the walk. */
int bowimg_log(const char *path, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
	       void *ctx, struct bowimg_error *err);

/*
 * The free map, as runs in ascending order that cover the image: of the open checkpoint, or, where
 * none is open, what bowimg_prepare() with these options would find.
 */
int bowimg_map(const char *path, const struct bowimg_prepare_options *opts,
	       int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free), void *ctx,
	       struct bowimg_error *err);

/* ---- before and now ---------------------------------------------------------------------- */

/*
 * An image with an open checkpoint that nobody serves, looked at and never written: the disk as it
 * was at prepare, and as it is now. While it is open nobody can serve, roll back or commit the
 * image; others may look as well. Calls may come from any number of threads.
 */
typedef struct bowimg_look bowimg_look;

/*
 * Errors: -ENODATA no checkpoint, -EINPROGRESS an interrupted end must be finished first, -EBUSY
 * somebody serves it, -EUCLEAN/-EBADMSG damaged log, -ESTALE changed behind our back (`force`:
 * BOWIMG_FORCE_CHANGED). Memory: about 32 bytes for each backup (of up to 64 blocks), whatever the
 * image's size.
 */
int bowimg_look_open(const char *path, unsigned force, bowimg_look **out, struct bowimg_error *err);

struct bowimg_look_info {
	char uuid[37];	      /* the checkpoint's */
	uint64_t size;	      /* of the disk, in bytes; the same on both sides */
	uint32_t block_size;  /* bytes */
	bool exact;	      /* free space was all zeros at prepare */
	int64_t prepared_at;  /* seconds since the epoch */
	char free_source[16]; /* "ext", "map", "none", ... */
};
void bowimg_look_get_info(const bowimg_look *look, struct bowimg_look_info *out);
uint64_t bowimg_look_size(const bowimg_look *look); /* info.size */

enum bowimg_side { BOWIMG_NOW, BOWIMG_BEFORE };

/*
 * Read one side; any offset and length inside the disk. BEFORE: used blocks are those of prepare,
 * bit for bit; free ones zeros in exact mode, else as they read now. A backup is checked when it is
 * first read. -EINVAL beyond the end, -ENOMEM, -EBADMSG damaged backup.
 */
int bowimg_look_read(bowimg_look *look, enum bowimg_side side, void *buf, size_t bytes,
		     uint64_t off, struct bowimg_error *err);

/* How many bytes from off on, a place inside the disk, were all free (or all in use) at prepare. */
uint64_t bowimg_look_run(const bowimg_look *look, uint64_t off, bool *was_free);

/* A run of blocks that may differ between the sides; all other blocks are equal. */
struct bowimg_change {
	uint64_t off, bytes; /* whole blocks, but for a partial last one */
	bool was_free;	     /* free at prepare: what was there then is nobody's */
	bool was_zero;	     /* known to be all zeros before (used blocks only) */
	bool zero_now;	     /* known to read as zeros now: promised, nothing was written */
};

/*
 * What changed, as runs in ascending order, from the log alone. A run is reported when its blocks
 * were saved (overwritten, perhaps with the same; or prepared to be), taken from the free space, or
 * zeroed. A non-zero return of `run` ends it and is returned.
 */
int bowimg_look_changes(bowimg_look *look,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			struct bowimg_error *err);

/* As bowimg_partitions(), for one side. */
int bowimg_look_partitions(bowimg_look *look, enum bowimg_side side,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err);

/* NULL is accepted. */
int bowimg_look_close(bowimg_look *look, struct bowimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
