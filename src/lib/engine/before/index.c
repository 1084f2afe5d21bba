/* SPDX-License-Identifier: MIT */
/*
 * What the before view of a served disk knows from the log: where the backups are, and what the
 * disk was at a mark.
 *
 * The places of the backups are read from the log at the first request for one, and the log is read
 * on when a newer backup is needed (log/backup_index.c): a disk that is only served pays nothing
 * for this view, neither time nor memory. The log is read without stopping its writer, up to the
 * last complete record; older ones do not change. But parts of it may be relocated meanwhile. Then
 * the checksums do not match, and the log is read once more while no thread leads it.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/engine/before/before.h"

/* ---- where the backups are ------------------------------------------------------- */

/* The log as far as it is complete; the leader changes both. */
struct moment {
	struct bow_super sb;
	uint64_t end_seq, gives;
};

/* Read on: *more has as many indexes as there are epochs to read, the newest last. */
static int read_log(struct bow_engine *img, const struct moment *m, struct bow_backup_index *more,
		    uint32_t n, struct bowimg_error *err)
{
	struct bow_walk w;
	int rc = bow_walk_init(&w, img->dev, &m->sb, err);

	w.end_seq = m->end_seq;
	if (!rc)
		rc = bow_backup_index_read(more, n, &w, err);
	bow_walk_release(&w);
	return rc;
}

/* What was read: all epochs at first, then what was added to the newest one. */
struct news {
	struct bow_backup_index *index;
	uint32_t n;
	uint64_t gives; /* at least as many records of the log gave blocks back */
};

static void release_news(struct news *news)
{
	for (uint32_t i = 0; i < news->n; i++)
		bow_backup_index_release(&news->index[i]);
}

/* The log as it is now. The caller steps down from leading it. */
static void take_moment(struct bow_engine *img, struct moment *m)
{
	bow_engine_lead(img);
	pthread_mutex_lock(&img->lock);
	m->gives = img->gives;
	pthread_mutex_unlock(&img->lock);
	m->sb = img->sb;
	m->end_seq = img->log.next_seq;
}

/* Read what was logged since the last time. Unless `alone`, other threads may log meanwhile. */
static int read_news(struct bow_engine *img, bool alone, struct news *news,
		     struct bowimg_error *err)
{
	struct bow_backup_index *last = &news->index[news->n - 1];
	struct moment m;
	int rc = 0;

	last->end_seq = bow_before_newest(img)->end_seq;
	take_moment(img, &m);
	if (!alone)
		bow_engine_step_down(img);
	news->gives = m.gives;
	if (m.end_seq > last->end_seq)
		rc = read_log(img, &m, news->index, news->n, err);
	if (alone)
		bow_engine_step_down(img);
	return rc;
}

static int add_news(struct bow_engine *img, struct news *news)
{
	int rc = 0;

	pthread_rwlock_wrlock(&img->index_lock);
	if (bow_before_newest(img)->end_seq) {
		rc = bow_backup_index_absorb(img->backup_index, img->epochs, news->index,
					     img->blocks.count);
	} else {
		memcpy(img->backup_index, news->index, news->n * sizeof(*news->index));
		memset(news->index, 0, news->n * sizeof(*news->index));
	}
	if (!rc)
		img->index_gives = news->gives;
	pthread_rwlock_unlock(&img->index_lock);
	return rc;
}

/* One thread at a time comes here, so only this one changes img->backup_index. */
static int extend_index(struct bow_engine *img, struct bowimg_error *err)
{
	struct news news = {.n = bow_before_newest(img)->end_seq ? 1 : img->epochs};
	int rc;

	news.index = calloc(news.n, sizeof(*news.index));
	if (!news.index)
		return bow_err_errno(err, -ENOMEM, "note where the originals are");
	rc = read_news(img, false, &news, err);
	if (rc == -EBADMSG || rc == -EUCLEAN) {
		release_news(&news);
		bow_err_clear(err);
		rc = read_news(img, true, &news, err);
	}
	if (!rc && (rc = add_news(img, &news)))
		bow_err_errno(err, rc, "note where the originals are");
	release_news(&news);
	free(news.index);
	return rc;
}

static bool knows_more(const struct bow_engine *img, struct bow_knowledge seen)
{
	return bow_before_newest(img)->end_seq != seen.end_seq || img->index_gives != seen.gives;
}

int bow_before_read_on(struct bow_engine *img, struct bow_knowledge seen, struct bowimg_error *err)
{
	bool known;
	int rc;

	pthread_mutex_lock(&img->lock);
	while (img->extending)
		pthread_cond_wait(&img->changed, &img->lock);
	known = knows_more(img, seen);
	img->extending = !known;
	pthread_mutex_unlock(&img->lock);
	if (known)
		return 0;
	rc = extend_index(img, err);
	pthread_mutex_lock(&img->lock);
	known = knows_more(img, seen);
	img->extending = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	/* Every SAVED block was logged before. */
	if (!rc && !known)
		rc = bow_err(err, -EUCLEAN, "the log has no entry for an original");
	return rc;
}

/* ---- what is known beside the backups --------------------------------------------- */

/* The states as of the mark, from the log as it is now; unless `alone`, it may grow meanwhile. */
static int load_past(struct bow_engine *img, bool alone, struct bow_checkpoint *cp, uint32_t epoch,
		     struct bow_past *past, struct bowimg_error *err)
{
	struct moment m;
	int rc;

	take_moment(img, &m);
	if (!alone)
		bow_engine_step_down(img);
	cp->sb = m.sb;
	cp->end_seq = m.end_seq;
	rc = bow_past_load(past, cp, epoch, err);
	if (alone)
		bow_engine_step_down(img);
	return rc;
}

int bow_engine_past(struct bow_engine *img, const char *mark, struct bow_past *past,
		    struct bowimg_error *err)
{
	struct bow_checkpoint cp = {.dev = img->dev,
				    .blocks = {.free = img->blocks.free},
				    .free0 = img->free0,
				    .epochs = img->epoch,
				    .n_epochs = img->epochs};
	uint32_t epoch;
	int rc = bow_epoch_find(&cp, mark, &epoch, err);

	if (rc)
		return rc;
	if (epoch == 0)
		return bow_past_load(past, &cp, 0, err);
	rc = load_past(img, false, &cp, epoch, past, err);
	if (rc == -EBADMSG || rc == -EUCLEAN) {
		bow_past_release(past);
		bow_err_clear(err);
		rc = load_past(img, true, &cp, epoch, past, err);
	}
	return rc ? bow_err_wrap(err, rc, "look at the disk as it was") : 0;
}
