/* SPDX-License-Identifier: MIT */
/*
 * libbowimg: undo for disk images ("backup on write" in user space).
 *
 * bowimg_prepare() opens a checkpoint on a raw image or disk. While it is open, all writes to the
 * disk go through a handle from bowimg_open(): before a used block is overwritten for the first
 * time, its content is copied into the image's own free space, and an entry in the log names the
 * copy. bowimg_rollback() brings every used block back, bowimg_commit() keeps the changes. The idea
 * is that of Android's dm-bow (Paul Lawrence, LKML 2018); bowimg-format(5) describes the on-disk
 * format and the order of writes.
 *
 * Conventions. Offsets and sizes are bytes unless a name ends in _blk. Every call that can fail
 * returns 0 or a negative errno value from BOWIMG_ERRORS (or -EIO, -ENOMEM, -EINVAL and other
 * errors of the operating system), and fills *err unless err is NULL. The library prints nothing.
 * An options structure filled with zeros, or NULL, means "defaults". Out-parameters are written on
 * success only; a report may be NULL. The path of an image may also be the URI of an NBD export
 * (nbd://, nbds://, nbd+unix://, nbds+unix://). The error is -EOPNOTSUPP if the server lacks a
 * needed feature, flushes above all, or if the library was built without libnbd.
 *
 * Example. Write to a disk, and keep that only if it succeeded:
 *
 *	int change(const char *image, const void *data, size_t bytes, struct bowimg_error *err)
 *	{
 *		bowimg_disk *disk;
 *		int rc, ended, closed;
 *
 *		rc = bowimg_prepare(image, NULL, NULL, err);
 *		if (rc)
 *			return rc;
 *		rc = bowimg_open(image, NULL, &disk, err);
 *		if (!rc) {
 *			rc = bowimg_disk_write(disk, data, bytes, 0, BOWIMG_FUA, err);
 *			closed = bowimg_disk_close(disk, rc ? NULL : err);
 *			rc = rc ? rc : closed;
 *		}
 *		if (!rc)
 *			return bowimg_commit(image, NULL, NULL, err);
 *		ended = bowimg_rollback(image, NULL, NULL, NULL);
 *		return ended ? ended : rc;
 *	}
 */
#ifndef BOWIMG_H
#define BOWIMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOWIMG_VERSION "0.2.0"

/* The unit of backups, in bytes, whatever the file system's own block size is. */
#define BOWIMG_BLOCK_SIZE 4096u

/* The smallest image that can hold a checkpoint, in bytes. */
#define BOWIMG_MIN_SIZE 65536u

/* The largest one (1 PiB). A file with its tail may be twice as long; longer files are refused. */
#define BOWIMG_MAX_SIZE ((uint64_t)1 << 50)

/* Marks of one checkpoint, deleted ones included; and the characters of a name. */
#define BOWIMG_MARKS_MAX 255u
#define BOWIMG_MARK_NAME_MAX 24u

/*
 * Errors with a fixed meaning: errno, exit status of the program, what it means. All other errors
 * are ordinary I/O errors (exit status 1).
 */
#define BOWIMG_ERRORS(X)                                                     \
	X(ENODATA, 3, "no checkpoint is open on this image")                 \
	X(EALREADY, 3, "a checkpoint is open on this image already")         \
	X(EBUSY, 4, "in use by another process, or locked")                  \
	X(ENOSPC, 5, "no space left for a backup")                           \
	X(EDQUOT, 5, "no space left: a quota")                               \
	X(EFBIG, 5, "no space left: a limit on the size of files")           \
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

/* Yes, no, or not given: then the default depends on the image. */
enum bowimg_choice { BOWIMG_DEFAULT = 0, BOWIMG_NO, BOWIMG_YES };

/* Where backups and the log go: the image's free blocks, or past the end of the file. */
enum bowimg_store { BOWIMG_STORE_FREE = 0, BOWIMG_STORE_TAIL };

/* What happens when the free blocks are used up. */
enum bowimg_on_full { BOWIMG_ON_FULL_DEFAULT = 0, BOWIMG_ON_FULL_STOP, BOWIMG_ON_FULL_TAIL };

/*
 * POWER: flushed data survives a power cut, and the image can be rolled back after one. PROCESS: no
 * barriers; safe if the process is killed, not after a power cut.
 */
enum bowimg_durability { BOWIMG_DURABILITY_POWER = 0, BOWIMG_DURABILITY_PROCESS };

/* Checks that may be overridden, for the `force` members below. */
#define BOWIMG_FORCE_CHANGED 1u /* go on although size or mtime show that the image was changed */
/* For a disk that dm-bow left, if its log or a backup is damaged; other calls ignore these two: */
#define BOWIMG_FORCE_PARTIAL 2u /* rollback: bring back all blocks whose backup is not damaged */
#define BOWIMG_FORCE_FORWARD 4u /* rollback: commit instead; commit: trust block 0 alone */

/*
 * A disk: the one handle of this library. What it shows depends on how it was opened; the calls for
 * I/O are the same for all.
 */
typedef struct bowimg_disk bowimg_disk;

/* Work that the library leaves to the program when it reads a free map. A member may be NULL. */
struct bowimg_helpers {
	/*
	 * For a program that reads files: *fd is a descriptor of one that holds the volume's bytes,
	 * and a write to it fails. It stays the helper's; unexpose() ends it, with *exposed. Until
	 * then other threads may read the volume.
	 */
	int (*expose)(void *ctx, bowimg_disk *vol, int *fd, void **exposed,
		      struct bowimg_error *err);
	void (*unexpose)(void *ctx, void *exposed);
	/*
	 * Mount the volume for reading, let it discard its free space (bowimg_disk_discard()), and
	 * unmount it. It holds a file system of this type, in the words of libblkid. Requests for
	 * zeros, and all requests during the mount, go to bowimg_disk_zero(). No request may come
	 * after this returns. -EOPNOTSUPP: it cannot be done here.
	 */
	int (*trim)(void *ctx, bowimg_disk *vol, const char *fs_type, struct bowimg_error *err);
	void *ctx;
};

/*
 * Callbacks during long work and for warnings, from the calling thread. A member may be NULL.
 *
 * The library blocks and catches no signals. To end in order, a program notes a signal in its
 * handler and returns true from `stop`. It should ignore SIGXFSZ: then a limit on the size of files
 * is the error -EFBIG, or -ENOSPC if a file has to grow.
 */
struct bowimg_events {
	/* `done` of `total` bytes of `what` ("verify", "restore", "zero", "read free map",
	 * "check"). */
	void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
	/* One sentence for the user, without a newline; nothing failed. */
	void (*notice)(void *ctx, const char *text);
	/*
	 * Asked during long work of bowimg_prepare(), _map(), _rollback(), _commit(), _verify() and
	 * _rescue(), at each point where it can stop: true ends the call with -ECANCELED. Nothing
	 * is lost: the image is as before the call, or a rollback or commit is half done; then
	 * bowimg_status() shows its state, and the same call finishes it.
	 */
	bool (*stop)(void *ctx);
	void *ctx;
	const struct bowimg_helpers *helpers; /* for bowimg_prepare() and bowimg_map() */
	/*
	 * The server of an NBD export has not answered for BOWIMG_SILENT_S seconds and is waited
	 * for, which comes once, or it answers again; or the connection to it was lost, and there
	 * is another one. A sentence as for `notice`, from whichever
	 * thread waits, as long as the image is open; it may not call this library.
	 */
	void (*waiting)(void *ctx, const char *text);
};

#define BOWIMG_SILENT_S 3u

/* Of calls that have no other options. */
struct bowimg_options {
	unsigned force;		     /* BOWIMG_FORCE_CHANGED */
	struct bowimg_events events; /* only `waiting` and `ctx` are used */
};

/* ---- state ----------------------------------------------------------------------- */

/*
 * How much more backups and new data may take. Free blocks that are holes of a sparse file, and the
 * tail of a file, need space on the host: on the file system that holds the image.
 */
struct bowimg_budget {
	bool known;	     /* false: no checkpoint, or no limit is known; left_bytes is 0 then */
	uint64_t left_bytes; /* by the smaller limit */
	bool by_host;	     /* that is the host's free space, not the image's */
	/* Percent of what the host allows that is used; 0 while only the image is a limit. */
	unsigned host_used;
	bool host_known;	  /* false: a device, an NBD export, or a host that does not tell */
	uint64_t host_left_bytes; /* free on the host, without what is kept for root */
};

enum bowimg_state {
	BOWIMG_STATE_NONE = 0,	   /* an ordinary image */
	BOWIMG_STATE_CHECKPOINT,   /* prepared; may be served, rolled back, committed */
	BOWIMG_STATE_ROLLING_BACK, /* a rollback was interrupted; only rollback can finish it */
	BOWIMG_STATE_COMMITTING,   /* a commit was interrupted; only commit can finish it */
	BOWIMG_STATE_FINISHING, /* all but the last step is done; `next` names the command for it */
	BOWIMG_STATE_INTERRUPTED /* prepare was interrupted; rollback undoes the little it did */
};

/* "none", "checkpoint", "rolling-back", "committing", "finishing", "interrupted". */
const char *bowimg_state_name(enum bowimg_state state);

struct bowimg_status {
	enum bowimg_state state;
	char format[16];       /* "bowimg", "dm-bow", or "" when state is NONE */
	char uuid[37];	       /* the checkpoint's UUID in text, or "" */
	char free_source[16];  /* "ext", "map", "none", ... */
	uint64_t virtual_size; /* bytes the guest sees */
	uint32_t block_size;   /* bytes; 512 to 4096 for dm-bow, else 4096 */
	bool exact;	       /* rollback restores the whole image, free space included */
	bool attached;	       /* a process serves it, or ended without a clean detach */
	bool in_use;	       /* a process holds the lock of the image */
	/* ROLLING_BACK: the mark that it goes back to, or "" for prepare. */
	char rolling_back_to[BOWIMG_MARK_NAME_MAX + 1];
	bool store_tail; /* backups go past the end of the file from the start */
	enum bowimg_on_full on_full;
	uint64_t free_total_bytes; /* free when the checkpoint was opened */
	uint64_t free_left_bytes;  /* still free for backups or new data, or can be at once */
	uint64_t backup_bytes;	   /* copies of overwritten blocks */
	uint64_t changed_bytes;	   /* used blocks overwritten since prepare (zeroes included) */
	uint64_t new_bytes;	   /* free blocks taken by new data since prepare */
	uint64_t log_bytes;	   /* log segments */
	uint64_t entries;	   /* log entries */
	uint64_t gives;		   /* those of them that give blocks back */
	uint64_t tail_bytes;	   /* bytes past the image's end that belong to bowimg */
	int64_t prepared_at;	   /* seconds since the epoch; 0: not known */
	struct bowimg_budget budget;
	char next[256]; /* the commands that are possible now, one sentence */
};

/*
 * Read the state of an image, which is not changed and may be served by another process.
 * Errors: -EUCLEAN/-EBADMSG damaged log, -ESTALE sector 0 is ours but the rest of block 0 is not,
 * or the image was changed since it was detached (unless forced).
 */
int bowimg_status(const char *path, const struct bowimg_options *opts, struct bowimg_status *out,
		  struct bowimg_error *err);

/* ---- partitions ------------------------------------------------------------------ */

/* Disks with more partitions are not supported. */
#define BOWIMG_PARTITIONS_MAX 128u

/* One partition of a GPT or MBR. Texts come from the disk: any bytes but control characters. */
struct bowimg_partition {
	uint32_t number;     /* as the kernel counts: logical ones of an MBR from 5 on */
	uint64_t off, bytes; /* on the whole disk */
	char table[8];	     /* "gpt", "dos" */
	char type[40];	     /* GPT: the type's UUID; MBR: "0x83" */
	char name[112];	     /* GPT: its label; may be empty */
	char content[32];    /* by its signature: "ext4", "vfat", "swap", "crypto_LUKS"; or "" */
	char source[16];     /* prepare: the source of its free map; "" if all blocks are used */
	uint64_t free_bytes; /* prepare: in whole blocks */
	char why_not[192];   /* prepare: why all blocks count as used; else "" */
};

/*
 * Walk the partitions of the disk on an image, as its guest sees them now, in the order of the
 * disk; extended partitions are left out. The image may have a checkpoint, and be served. A
 * non-zero return of `partition` ends the walk and is returned; its argument lasts for the call.
 * Without a partition table this returns 0. -EUCLEAN: the table is damaged; -EOPNOTSUPP: it is
 * ambiguous or of another kind; else as bowimg_status().
 */
int bowimg_partitions(const char *path, const struct bowimg_options *opts,
		      int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		      struct bowimg_error *err);

/* ---- open ------------------------------------------------------------------------ */

struct bowimg_open_options {
	enum bowimg_durability durability;
	unsigned force;		     /* BOWIMG_FORCE_CHANGED */
	struct bowimg_events events; /* notices may come from any serving thread */
	/*
	 * 0, or the descriptor of a file in memory (memfd_create(2)), empty at first, that outlives
	 * the process. If the process is killed, but not the machine, and another one opens the
	 * image with the same file, all calls that had returned keep their effect.
	 */
	int carry;
	/*
	 * 0, or so many bytes of memory for a write-back cache: writes may return before they are
	 * there, as on any disk, and bowimg_disk_flush() and closing the disk wait for them. It
	 * makes a program fast that waits for each of its small writes. What was not flushed is
	 * lost if the process is killed, so for a guest that outlives it `writeback_carry` must be
	 * set, too. A write for which there is no space fails at once; one that fails late fails
	 * the next flush, all later writes, and closing the disk.
	 */
	uint64_t writeback_bytes;
	/*
	 * 0, or a second file as `carry`, which must be set, for the cache: its writes then keep
	 * their effect, too. If another process has used the image in between, they are lost, and
	 * there is a notice.
	 */
	int writeback_carry;
};

/*
 * Serve an image with an open checkpoint. It recovers from a crash by itself, and all writes from
 * now on can be undone. A process may open several images.
 * Errors: -ENODATA, -EINPROGRESS, -EBUSY, -EUCLEAN, -EBADMSG, -ESTALE.
 */
int bowimg_open(const char *path, const struct bowimg_open_options *opts, bowimg_disk **out,
		struct bowimg_error *err);

/*
 * View an image with an open checkpoint that no process serves: the disk as it is now, for reading.
 * While it is open, the image cannot be served, rolled back or committed; other views are possible.
 * Errors: -ENODATA no checkpoint, -EINPROGRESS an interrupted end must be finished first, -EBUSY in
 * use, -EUCLEAN/-EBADMSG damaged log, -ESTALE changed behind bowimg's back (unless forced). Memory:
 * about 32 bytes for each backup (of up to 64 blocks).
 */
int bowimg_open_view(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
		     struct bowimg_error *err);

/*
 * The disk of an image that has no checkpoint, for reading. While it is open, no other process can
 * serve or prepare the image.
 * Errors: -EALREADY and -EINPROGRESS if it has one, -EBUSY in use, -EOPNOTSUPP not an image that
 * bowimg_prepare() takes.
 */
int bowimg_open_plain(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
		      struct bowimg_error *err);

/*
 * Serve an image that has no checkpoint yet, while a guest runs that trims its free space. A
 * discard changes nothing on the image; a write or zero takes its range back. Writes cannot be
 * undone here: the checkpoint is opened afterwards, by bowimg_disk_prepare(). Errors as of
 * bowimg_prepare(), as far as they are known yet.
 */
int bowimg_open_tracker(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
			struct bowimg_error *err);

/*
 * The disk as it was at prepare, for reading. `disk` was opened by bowimg_open() or
 * bowimg_open_view(), must stay open longer, and may be written to meanwhile. Used blocks read bit
 * for bit, free blocks as zeros in exact mode, else as they read now. On a served disk the first
 * read of an overwritten block reads the log, and takes memory for it (32 bytes for each backup); a
 * view has done so already. A backup is checked when it is first read: -EUCLEAN/-EBADMSG damaged
 * log or backup. -EOPNOTSUPP: this disk has no earlier version.
 */
int bowimg_disk_before(bowimg_disk *disk, bowimg_disk **out, struct bowimg_error *err);

/*
 * The disk as it was at a mark, else as bowimg_disk_before(), which is the same with mark NULL.
 * What was free at the mark reads as zeros in exact mode, else as now. -ENODATA: no such mark.
 */
int bowimg_disk_at(bowimg_disk *disk, const char *mark, bowimg_disk **out,
		   struct bowimg_error *err);

/*
 * A part of a disk as a disk of its own: a partition, or the file system on it. `disk` must stay
 * open longer. -EUCLEAN: the range is not inside the disk.
 */
int bowimg_disk_part(bowimg_disk *disk, uint64_t off, uint64_t bytes, bowimg_disk **out,
		     struct bowimg_error *err);

/*
 * End a disk. A served one is flushed, and its clean end is noted. The handle is gone even if an
 * error is returned; the image can then be opened again as after a crash. NULL is accepted.
 */
int bowimg_disk_close(bowimg_disk *disk, struct bowimg_error *err);

/* ---- I/O ------------------------------------------------------------------------- */

/* The name of the image, for messages; lasts as long as the disk. */
const char *bowimg_disk_name(const bowimg_disk *disk);
/* Bytes, as the guest sees them; constant. */
uint64_t bowimg_disk_size(const bowimg_disk *disk);
/* Do writes, zeros and discards fail with -EROFS? */
bool bowimg_disk_is_readonly(const bowimg_disk *disk);
/* How many requests are worth having in flight at once: 1 for a file, more for a server's disk. */
unsigned bowimg_disk_in_flight(const bowimg_disk *disk);

#define BOWIMG_FUA 1u /* durable before the call returns */

/*
 * Any offset and length inside the disk; any number of threads at once. A write that returned is
 * visible to every later read; it is durable after bowimg_disk_flush() or with BOWIMG_FUA.
 * Overlapping writes in flight at the same time may land in either order, block by block.
 * Errors: -EINVAL beyond the end, -EROFS, -ENOSPC no room for a backup (the refused part of the
 * request was not written, and all can still be rolled back), -EIO; always -EIO after a barrier
 * failed.
 */
int bowimg_disk_read(bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err);
int bowimg_disk_write(bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		      unsigned flags, struct bowimg_error *err);

/*
 * The range reads as zeros afterwards. It costs no copy and no space unless it was overwritten
 * before.
 */
int bowimg_disk_zero(bowimg_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
		     struct bowimg_error *err);

/* The guest needs the content of this range no more; it may read as anything. */
int bowimg_disk_discard(bowimg_disk *disk, uint64_t off, uint64_t bytes, struct bowimg_error *err);

/* All requests that returned before the call are durable if it returns 0. */
int bowimg_disk_flush(bowimg_disk *disk, struct bowimg_error *err);

/*
 * Does the disk read as zeros from `off` on, as far as is known without reading? The answer holds
 * for *bytes bytes, at least 1, at most to the end of the disk; the next range may have the same
 * answer. If *zero is false there is data, which may also be zeros.
 * Errors: -EINVAL beyond the end, -EIO.
 */
int bowimg_disk_extent(bowimg_disk *disk, uint64_t off, bool *zero, uint64_t *bytes,
		       struct bowimg_error *err);

/* As bowimg_partitions(), for this disk. */
int bowimg_disk_partitions(bowimg_disk *disk,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err);

struct bowimg_counters {
	uint64_t free_total_bytes, free_left_bytes, backup_bytes, changed_bytes, log_bytes;
	uint64_t tail_bytes, relocated_bytes, barriers;
	uint64_t given_bytes; /* deleted by the guest and made free again, since it was opened */
	struct bowimg_budget budget;
	bool carried; /* requests of a killed process that were not durable yet were taken over */
	bool failed;  /* a barrier failed: writes are refused until the image is opened again */
};

/* Of a disk from bowimg_open(); all zeros for others. */
void bowimg_disk_get_counters(const bowimg_disk *disk, struct bowimg_counters *out);

/* ---- what changed, for disks from bowimg_open_view() ----------------------------- */

struct bowimg_disk_info {
	char uuid[37];	      /* the checkpoint's */
	uint64_t size;	      /* of the disk, in bytes; the same before and now */
	uint32_t block_size;  /* bytes */
	bool exact;	      /* free space was all zeros at prepare */
	int64_t prepared_at;  /* seconds since the epoch */
	char free_source[16]; /* "ext", "map", "none", ... */
	uint64_t record;      /* of the disk as it was at a mark: the mark's; else 0 */
};
/* Of a view, or of a disk as it was. -EOPNOTSUPP: this disk is neither. */
int bowimg_disk_get_info(const bowimg_disk *disk, struct bowimg_disk_info *out,
			 struct bowimg_error *err);

/* A run of blocks that may differ between prepare and now; all other blocks are equal. */
struct bowimg_change {
	uint64_t off, bytes; /* whole blocks, except for a partial last one */
	bool was_free;	     /* free at prepare: its content then has no meaning */
	bool was_zero;	     /* known to be all zeros before (used blocks only) */
	bool zero_now; /* known to read as zeros now: a zero is pending, nothing was written */
};

/*
 * Walk the changes, as runs in ascending order, from the log alone. A run is reported if its blocks
 * were saved (overwritten, perhaps with the same content, or prepared to be), taken from the free
 * space, or zeroed. What a process that was killed took from an exact file's free space and did not
 * write is left out: its holes tell. A non-zero return of `run` ends the walk and is returned.
 * -EOPNOTSUPP: this disk is no view.
 */
int bowimg_disk_changes(bowimg_disk *disk,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			struct bowimg_error *err);

/* The same since a mark; NULL: since prepare. -ENODATA: no such mark. */
int bowimg_disk_changes_since(bowimg_disk *disk, const char *mark,
			      int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			      struct bowimg_error *err);

/* ---- prepare --------------------------------------------------------------------- */

/* Is this a text for `free_from` below? -EOPNOTSUPP: the hint lists what can be named. */
int bowimg_check_free_from(const char *free_from, struct bowimg_error *err);

struct bowimg_prepare_options {
	/* "auto" (NULL), "ext", "fat", "partclone", "trim", "map:FILE", "none"; borrowed. "trim"
	 * needs events.helpers, "partclone" does for parts of an image. */
	const char *free_from;
	enum bowimg_choice exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full;
	bool dry_run; /* change nothing, only report */
	struct bowimg_events events;
	/*
	 * Called for each partition after the free map was read, before anything is written; or
	 * NULL. *p lasts for the call.
	 */
	void (*partition)(void *ctx, const struct bowimg_partition *p);
	void *partition_ctx;
	/*
	 * Run each file system's own checker, which has no way to write; needs
	 * events.helpers->expose. -EUCLEAN: it found damage; -EOPNOTSUPP: it is not installed, or
	 * this kind of file system has none.
	 */
	bool check;
};

struct bowimg_prepare_report {
	char free_source[16]; /* all of them for a partitioned disk, as in "ext+swap" */
	char what[128];	      /* the content of the image: "ext4, 1024-byte blocks" */
	char why_source[128]; /* the reason for `free_source`, one clause, or "" */
	char why_exact[128];  /* the reason for `exact`, one clause */
	bool exact;
	bool store_tail;
	enum bowimg_on_full on_full;
	uint64_t image_size;
	uint64_t fs_free_bytes;	   /* free as the source has it, before rounding to whole blocks */
	uint64_t free_total_bytes; /* free blocks bowimg may use */
	uint64_t free_left_bytes; /* free blocks left after the log, the map and block 0's copies */
	struct bowimg_budget budget;
	char checked[64]; /* the programs that checked, as in "e2fsck+fsck.fat"; or "" */
};

/*
 * Open a checkpoint on an image or block device that is not in use.
 * Errors: -EALREADY, -EINPROGRESS, -EBUSY (mounted, attached, locked), -ENOSPC (no free block and
 * no tail), -EUCLEAN (the file system needs a journal replay or a check), -EOPNOTSUPP (not an
 * image, too small, another image format, unknown file system), -EROFS, -EACCES.
 */
int bowimg_prepare(const char *path, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err);

/*
 * End a disk from bowimg_open_tracker() and open a checkpoint on its image. The free map has the
 * ranges that were discarded and not written since; opts->free_from is ignored. No other call may
 * be in flight. The handle is gone even if an error is returned. -ENOSPC: nothing was trimmed.
 */
int bowimg_disk_prepare(bowimg_disk *disk, const struct bowimg_prepare_options *opts,
			struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- ending a checkpoint --------------------------------------------------------- */

struct bowimg_end_options {
	bool dry_run;	/* rollback: verify everything and report; commit: report */
	bool again;	/* rollback: leave a fresh checkpoint with the same free map */
	const char *to; /* rollback: only to this mark, the checkpoint stays open; or NULL */
	bool wipe;	/* commit: zero the places of the backups and the log */
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
	bool committed;		 /* BOWIMG_FORCE_FORWARD: it was damaged, so it was committed */
	uint64_t lost_entries;	 /* BOWIMG_FORCE_PARTIAL: damaged, so not brought back */
};

/*
 * Bring back every used block, in exact mode the whole image. The whole log and every backup are
 * verified before the first restoring write. If it is killed at any point, run it again.
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

/* ---- marks ----------------------------------------------------------------------- */

/*
 * A mark is a point of an open checkpoint with a name. bowimg_rollback() goes back to it if
 * bowimg_end_options.to names it, as often as one likes; later marks are gone then, and what was
 * free at the mark and written since reads as zeros. It costs one block, and a backup for each
 * block that is overwritten after it and was overwritten or written to before.
 */
struct bowimg_mark {
	char name[BOWIMG_MARK_NAME_MAX + 1];
	int64_t made_at;	/* seconds since the epoch */
	uint64_t record;	/* its number in the log */
	uint64_t changed_bytes; /* that bowimg_disk_changes() would tell since the mark, or more */
	uint64_t backup_bytes;	/* copies made since the mark */
};

/*
 * May a mark have this name? Letters, digits, '.', '_' and '-', the first a letter or a digit; not
 * "prepare", which is the checkpoint's own beginning.
 */
bool bowimg_mark_name_ok(const char *name);

/*
 * Mark the point where an image with an open checkpoint is now. The image must be idle, its file
 * system unmounted. *made may be NULL; its two sizes are 0.
 * Errors: -ENODATA no checkpoint, -EALREADY the name is taken, -EINVAL not a name, -ENOSPC no room,
 * or too many marks, -EINPROGRESS, -EBUSY, -EUCLEAN, -EBADMSG, -ESTALE.
 */
int bowimg_mark_make(const char *path, const char *name, const struct bowimg_options *opts,
		     struct bowimg_mark *made, struct bowimg_error *err);

/*
 * Let a mark go: nothing leads back to it, and its name is free. Its backups stay until a rollback
 * to an older mark, or the end of the checkpoint. -ENODATA: no such mark; else as
 * bowimg_mark_make().
 */
int bowimg_mark_delete(const char *path, const char *name, const struct bowimg_options *opts,
		       struct bowimg_error *err);

/*
 * Walk the marks of an image, oldest first; it may be served by another process. A non-zero return
 * of `mark` ends the walk and is returned. Errors as of bowimg_status(), and -ENODATA.
 */
int bowimg_marks(const char *path, const struct bowimg_options *opts,
		 int (*mark)(void *ctx, const struct bowimg_mark *m), void *ctx,
		 struct bowimg_error *err);

/* ---- rescue ---------------------------------------------------------------------- */

struct bowimg_rescue_options {
	bool write;	/* put sector 0 back; else only report */
	unsigned force; /* BOWIMG_FORCE_CHANGED: even if it looks like an ordinary image */
	struct bowimg_events events;
};

struct bowimg_rescue_report {
	char uuid[37];	       /* of the checkpoint that was found */
	uint64_t virtual_size; /* bytes the guest sees */
	int64_t prepared_at;   /* seconds since the epoch */
	bool exact;
	bool note_found;      /* the rest of block 0 is the note of a checkpoint */
	bool only_rollback;   /* block 0's newest content is lost: no commit, no serving */
	bool written;	      /* sector 0 is in place again */
	uint64_t segment_off; /* where the newest log segment begins */
	uint64_t entries, changed_bytes, backup_bytes; /* as in bowimg_status */
};

/*
 * Find the open checkpoint of an image whose sector 0 was overwritten or damaged. This scans the
 * whole image for its log, checks the log and every backup and, with `write`, writes sector 0 and
 * the note again. The image can then be rolled back, served or committed (see only_rollback). If a
 * rollback or commit had been begun, which is not found out, the same one must follow.
 * Errors: -EALREADY the superblock is whole, -EUCLEAN/-EBADMSG no log, or a damaged one, or two
 * that are equally new, -ESTALE the size has changed, or it looks like an image whose checkpoint
 * has ended (unless forced), -EBUSY.
 */
int bowimg_rescue(const char *path, const struct bowimg_rescue_options *opts,
		  struct bowimg_rescue_report *report, struct bowimg_error *err);

/* ---- log and free map ------------------------------------------------------------ */

/* On a disk that dm-bow left, blocks have the size in bowimg_status(). */
struct bowimg_log_entry {
	uint64_t segment_blk; /* where the entry's log segment begins */
	uint64_t sequence;    /* of its record */
	const char *
		type; /* "copy", "move", "zero", "take", "promise", "lift", "map-run", "map-bits";
			 of dm-bow "copy", "move", "log" (a log block), "live" (block 0's newest) */
	uint64_t source_blk, dest_blk, count_blk;
	uint64_t hash;
	char name[BOWIMG_MARK_NAME_MAX + 1]; /* of "mark"; "" for others */
	uint64_t record; /* of "mark", "unmark" and "revert": the number of the mark's record */
};

/* Walk the log from the newest entry to the oldest. A non-zero return of `entry` ends the walk. */
int bowimg_log(const char *path, const struct bowimg_options *opts,
	       int (*entry)(void *ctx, const struct bowimg_log_entry *e), void *ctx,
	       struct bowimg_error *err);

/*
 * Walk the free map, as runs in ascending order that cover the image. It is that of the open
 * checkpoint or, if none is open, that which bowimg_prepare() would find with these options.
 */
int bowimg_map(const char *path, const struct bowimg_prepare_options *opts,
	       int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free), void *ctx,
	       struct bowimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
