/* SPDX-License-Identifier: MIT */
/* The inside of this room: session, threads, requests. */
#ifndef BOW_FUSE_PRIVATE_H
#define BOW_FUSE_PRIVATE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "bowimg/fuse/fuse.h"
#include "bowimg/fuse/disk.h"

/* The largest read or write; each thread has a buffer of this size. */
#define BOW_FUSE_MAX_IO (1u << 20)

/* More than processors: most threads wait for the disk, and batches of backups get larger. */
#define BOW_FUSE_THREADS 16

/* A file: a range of the disk as it is, or, read-only, as it was. Its inode number is
 * BOW_FUSE_INO_FIRST + its index; those of the marks follow, BOW_FUSE_FILES_MAX for each. */
struct bow_fuse_file {
	char name[16];
	bowimg_disk *disk; /* NULL: it was not opened yet, or was lost */
	bool readonly;
	uint64_t off, bytes;
};

#define BOW_FUSE_FILES_MAX (2 * (1 + BOWIMG_PARTITIONS_MAX))
#define BOW_FUSE_MOMENTS_MAX (BOWIMG_MARKS_MAX + 1) /* prepare, too */

/* marks.c: the disk as it was at a mark; opened when it is first looked for, and never changed. */
struct bow_fuse_mark {
	char name[BOWIMG_MARK_NAME_MAX + 1];
	bowimg_disk *disk;
	struct bow_fuse_file files[]; /* as many as the session has, with this disk */
};

struct bow_fuse {
	struct bow_fuse_disk disk;
	struct bow_fuse_file files[BOW_FUSE_FILES_MAX];
	unsigned file_count;
	atomic_uint listed;	/* those that are in the list of files come first */
	pthread_rwlock_t disks; /* late.c */
	_Atomic(struct bow_fuse_mark *) marks[BOW_FUSE_MOMENTS_MAX]; /* the first NULL ends them */
	pthread_mutex_t marks_lock;				     /* for who adds one */
	bool no_holes;		 /* a device: see op_fallocate() */
	struct timespec started; /* the files' times */
	struct bow_watchdog *dog;
	struct fuse_session *session;
	char dir[PATH_MAX];
	unsigned connection;

	struct bow_fuse_thread *threads; /* BOW_FUSE_THREADS of them */
	unsigned thread_count;		 /* started so far */
	sem_t go;
	atomic_uint running;
	int ended_fd, closed_fd;

	bool initialized; /* the kernel's INIT is answered */
	atomic_bool was_open;
	atomic_int open_count;
	atomic_uint busy;      /* requests that threads work on */
	atomic_int last_error; /* of requests; there is one notice until it changes */
	pthread_mutex_t lost_lock;
	struct bowimg_error lost; /* the first failure that no caller may have seen */
};

extern const struct fuse_lowlevel_ops bow_fuse_ops;

enum { BOW_FUSE_INO_FIRST = FUSE_ROOT_ID + 1 };

/* names.c: the file with this number, or NULL. */
const struct bow_fuse_file *bow_fuse_file(const struct bow_fuse *fuse, fuse_ino_t ino);

/* marks.c: the number of the file with this name, of a mark; 0: there is none. */
fuse_ino_t bow_fuse_mark_lookup(struct bow_fuse *fuse, const char *name);
/* The file of a mark with this number, or NULL. */
const struct bow_fuse_file *bow_fuse_mark_file(const struct bow_fuse *fuse, fuse_ino_t ino);
void bow_fuse_marks_close(struct bow_fuse *fuse);

/* late.c: around what uses the disks; and for who opens this file, 0 if its disk is there. */
void bow_fuse_use_disks(struct bow_fuse *fuse);
void bow_fuse_leave_disks(struct bow_fuse *fuse);
int bow_fuse_need_disk(struct bow_fuse *fuse, const struct bow_fuse_file *file, bool writes);

/* names.c: requests about names and attributes, as libfuse calls them. */
void bow_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void bow_fuse_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void bow_fuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi);
void bow_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);
void bow_fuse_statfs(fuse_req_t req, fuse_ino_t ino);

/* The calling thread's buffer for the answer of a read: BOW_FUSE_MAX_IO bytes, page aligned. */
void *bow_fuse_thread_buffer(void);

#endif
