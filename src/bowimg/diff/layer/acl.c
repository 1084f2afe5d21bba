/* SPDX-License-Identifier: MIT */
/*
 * POSIX ACLs as text: from Linux' bytes to the form that tar programs exchange,
 * "user:1000:rw-:1000". The last field is the number, for programs that take the first for a name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "bowimg/diff/layer/private.h"

/* A version, then entries of tag, permissions and number. */
#define ACL_VERSION 2u
#define ACL_HEAD_BYTES 4u
#define ACL_ENTRY_BYTES 8u

static const struct {
	const char *name;
	unsigned tag;
	bool numbered;
} kinds[] = {
	{"user", 0x01, false}, {"user", 0x02, true},  {"group", 0x04, false},
	{"group", 0x08, true}, {"mask", 0x10, false}, {"other", 0x20, false},
};

static void put_entry(FILE *out, const uint8_t *p)
{
	const unsigned perm = bow_get16(p + 2);
	const char rwx[] = {perm & 4 ? 'r' : '-', perm & 2 ? 'w' : '-', perm & 1 ? 'x' : '-', 0};
	const uint32_t id = bow_get32(p + 4);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].tag != bow_get16(p))
			continue;
		if (ftell(out) > 0)
			putc(',', out);
		if (kinds[i].numbered)
			fprintf(out, "%s:%" PRIu32 ":%s:%" PRIu32, kinds[i].name, id, rwx, id);
		else
			fprintf(out, "%s::%s", kinds[i].name, rwx);
	}
}

static char *as_text(const struct bow_attr *attr)
{
	const uint8_t *p = attr->value;
	char *text = NULL;
	size_t bytes;
	FILE *out;

	if (attr->bytes < ACL_HEAD_BYTES || bow_get32(p) != ACL_VERSION)
		return NULL;
	out = open_memstream(&text, &bytes);
	if (!out)
		return NULL;
	for (size_t at = ACL_HEAD_BYTES; at + ACL_ENTRY_BYTES <= attr->bytes; at += ACL_ENTRY_BYTES)
		put_entry(out, p + at);
	fclose(out);
	return text;
}

bool bow_layer_acl_take(struct bow_layer_acls *acls, const struct bow_attr *attr)
{
	char **place = NULL;

	if (strcmp(attr->name, "system.posix_acl_access") == 0)
		place = &acls->access;
	else if (strcmp(attr->name, "system.posix_acl_default") == 0)
		place = &acls->by_default;
	if (!place)
		return false;
	free(*place);
	*place = as_text(attr);
	return true;
}

void bow_layer_acl_release(struct bow_layer_acls *acls)
{
	free(acls->access);
	free(acls->by_default);
	*acls = (struct bow_layer_acls){0};
}
