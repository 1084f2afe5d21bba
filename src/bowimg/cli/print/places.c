/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "bowimg/cli/waiting.h"

static int add_place(struct bow_places *places, const struct bow_place *place)
{
	struct bow_place *v = bow_grow(places->v, places->n, &places->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	places->v = v;
	v[places->n++] = *place;
	return 0;
}

static int on_partition(void *ctx, const struct bowimg_partition *p)
{
	struct bow_place place = {.off = p->off, .bytes = p->bytes};

	snprintf(place.name, sizeof(place.name), "%" PRIu32, p->number);
	snprintf(place.content, sizeof(place.content), "%s", p->content);
	return add_place(ctx, &place);
}

int bow_places_list(struct bow_cli *cli, uint64_t size, struct bow_places *out,
		    struct bowimg_error *err)
{
	const struct bowimg_options call = bow_cli_call(cli, 0);
	const struct bow_place whole = {.bytes = size};
	int rc = bowimg_partitions(cli->image, &call, on_partition, out, err);

	return rc || out->n ? rc : add_place(out, &whole);
}

bool bow_places_keep(struct bow_places *places, const char *name)
{
	for (size_t i = 0; i < places->n; i++) {
		if (strcmp(places->v[i].name, name) != 0)
			continue;
		places->v[0] = places->v[i];
		places->n = 1;
		return true;
	}
	return false;
}

void bow_places_free(struct bow_places *places)
{
	free(places->v);
	*places = (struct bow_places){0};
}
