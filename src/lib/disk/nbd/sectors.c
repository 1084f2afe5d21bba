/* SPDX-License-Identifier: MIT */
/* Which writes are in flight, and which writes must wait for them. */
#include "lib/disk/nbd/sectors.h"

void bow_nbd_sectors_init(struct bow_nbd_sectors *sectors)
{
	pthread_mutex_init(&sectors->lock, NULL);
	pthread_cond_init(&sectors->changed, NULL);
	LIST_INIT(&sectors->writes);
}

void bow_nbd_sectors_destroy(struct bow_nbd_sectors *sectors)
{
	pthread_cond_destroy(&sectors->changed);
	pthread_mutex_destroy(&sectors->lock);
}

static bool must_wait(const struct bow_nbd_sectors *sectors, const struct bow_nbd_write *w)
{
	const struct bow_nbd_write *other;

	LIST_FOREACH(other, &sectors->writes, others)
	if ((w->alone || other->alone) && w->start < other->end && other->start < w->end)
		return true;
	return false;
}

void bow_nbd_write_begin(struct bow_nbd_sectors *sectors, struct bow_nbd_write *w)
{
	pthread_mutex_lock(&sectors->lock);
	while (must_wait(sectors, w))
		pthread_cond_wait(&sectors->changed, &sectors->lock);
	LIST_INSERT_HEAD(&sectors->writes, w, others);
	pthread_mutex_unlock(&sectors->lock);
}

void bow_nbd_write_end(struct bow_nbd_sectors *sectors, struct bow_nbd_write *w)
{
	pthread_mutex_lock(&sectors->lock);
	LIST_REMOVE(w, others);
	pthread_cond_broadcast(&sectors->changed);
	pthread_mutex_unlock(&sectors->lock);
}
