/* SPDX-License-Identifier: MIT */
/*
 * Heads of tar entries in the pax interchange format (POSIX.1-2001). libarchive only compresses:
 * its own heads count the fraction of a time before 1970 in the wrong direction, and change names
 * of extended attributes that are not plain.
 *
 * The old head (ustar) holds what it can. Records before it hold the rest: "LENGTH KEY=VALUE\n",
 * where VALUE may be any bytes, and KEY must not have a '='. A file with holes is in GNU's form
 * 1.0: its data begins with a list of where the rest of it goes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/layer/private.h"

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type;
	char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8];
	char prefix[155], rest[12];
};

/* Octal digits, and a NUL behind them. */
#define MAX_7 07777777u
#define MAX_11 077777777777u

_Static_assert(sizeof(struct ustar) == BOW_PAX_BLOCK, "a head is a block");

/* ---- records --------------------------------------------------------------------- */

static size_t digits(size_t n)
{
	size_t d = 1;

	while (n /= 10)
		d++;
	return d;
}

/* The length counts its own digits. */
static void add(FILE *out, const char *prefix, const char *key, const void *value, size_t bytes)
{
	const size_t body = strlen(prefix) + strlen(key) + bytes + 3;
	size_t all = body + digits(body);

	all = body + digits(all);
	fprintf(out, "%zu %s%s=", all, prefix, key);
	fwrite(value, 1, bytes, out);
	putc('\n', out);
}

static void add_text(FILE *out, const char *key, const char *text)
{
	add(out, "", key, text, strlen(text));
}

static void add_number(FILE *out, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	add_text(out, key, text);
}

/* Seconds and a fraction. The sign is that of the sum. */
static void add_time(FILE *out, int64_t s, long ns)
{
	const bool minus = s < 0;
	uint64_t whole = minus ? -(uint64_t)s : (uint64_t)s;
	char text[40];
	int n;

	if (minus && ns) {
		whole--;
		ns = 1000000000 - ns;
	}
	n = snprintf(text, sizeof(text), "%s%" PRIu64 ".%09ld", minus ? "-" : "", whole, ns);
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[n - 1] = '\0';
	add_text(out, "mtime", text);
}

/* ---- what does not fit ----------------------------------------------------------- */

static bool is_ascii(const char *s)
{
	while (*s && (unsigned char)*s < 0x80)
		s++;
	return !*s;
}

/* The bytes of the UTF-8 character at s; 0 if there is none. */
static size_t utf8_bytes(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	const size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

	if (*p > 0xf4 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static bool is_utf8(const char *s)
{
	size_t n = 1;

	for (; *s && n; s += n)
		n = utf8_bytes(s);
	return n != 0;
}

static void add_name(FILE *out, const char *key, const char *name)
{
	if (strlen(name) > sizeof(((struct ustar *)0)->name) || !is_ascii(name))
		add_text(out, key, name);
}

/*
 * A '=' would end the key. GNU tar writes and reads it as %3D, and '%' as %25, and so changes a
 * name that holds one of these. Other readers do not, and keep GNU's form as the name.
 */
bool bow_layer_pax_holds_attr(const char *name)
{
	return !strchr(name, '=') && !strstr(name, "%3D") && !strstr(name, "%25");
}

static void add_attrs(FILE *out, struct archive_entry *e)
{
	const char *name;
	const void *value;
	size_t bytes;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &bytes) == ARCHIVE_OK)
		add(out, "SCHILY.xattr.", name, value, bytes);
}

/* ---- the head -------------------------------------------------------------------- */

static void set_octal(char *field, size_t room, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%0*" PRIo64, (int)room - 1, value);
	memcpy(field, text, room);
}

static void set_name(char *field, size_t room, const char *name)
{
	memcpy(field, name, bow_min(strlen(name), room));
}

static char type_of(struct archive_entry *e)
{
	if (archive_entry_hardlink(e))
		return '1';
	switch (archive_entry_filetype(e)) {
	case AE_IFLNK:
		return '2';
	case AE_IFCHR:
		return '3';
	case AE_IFBLK:
		return '4';
	case AE_IFDIR:
		return '5';
	case AE_IFIFO:
		return '6';
	default:
		return '0';
	}
}

/* Over all bytes, its own field counted as blanks. */
static void set_sum(struct ustar *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;

	memset(h->sum, ' ', sizeof(h->sum));
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += p[i];
	set_octal(h->sum, sizeof(h->sum) - 1, sum);
}

static void begin_head(struct ustar *h, const char *name, char type, unsigned mode, uint64_t size)
{
	memset(h, 0, sizeof(*h));
	set_name(h->name, sizeof(h->name), name);
	h->type = type;
	set_octal(h->mode, sizeof(h->mode), mode);
	set_octal(h->size, sizeof(h->size), bow_min(size, MAX_11));
	memcpy(h->magic, "ustar", sizeof(h->magic));
	memcpy(h->version, "00", sizeof(h->version));
	set_octal(h->uid, sizeof(h->uid), 0);
	set_octal(h->gid, sizeof(h->gid), 0);
	set_octal(h->mtime, sizeof(h->mtime), 0);
	set_octal(h->major, sizeof(h->major), 0);
	set_octal(h->minor, sizeof(h->minor), 0);
}

static void fill_head(struct ustar *h, struct archive_entry *e, const char *name, uint64_t size)
{
	const char *link = archive_entry_hardlink(e) ?: archive_entry_symlink(e);
	const int64_t mtime = archive_entry_mtime(e);

	begin_head(h, name, type_of(e), archive_entry_mode(e) & 07777, size);
	set_octal(h->uid, sizeof(h->uid), bow_min((uint64_t)archive_entry_uid(e), MAX_7));
	set_octal(h->gid, sizeof(h->gid), bow_min((uint64_t)archive_entry_gid(e), MAX_7));
	if (mtime > 0)
		set_octal(h->mtime, sizeof(h->mtime), bow_min((uint64_t)mtime, MAX_11));
	if (link)
		set_name(h->link, sizeof(h->link), link);
	if (h->type == '3' || h->type == '4') {
		set_octal(h->major, sizeof(h->major), archive_entry_rdevmajor(e));
		set_octal(h->minor, sizeof(h->minor), archive_entry_rdevminor(e));
	}
	set_sum(h);
}

/* ---- all of it ------------------------------------------------------------------- */

struct pax {
	struct archive_entry *e;
	const struct bow_layer_acls *acls;
	char *name; /* with "/" behind a directory's */
	char *map;  /* NULL: no holes */
	size_t map_bytes;
	uint64_t size; /* of what follows the head */
};

static void add_records(FILE *out, const struct pax *p)
{
	struct archive_entry *e = p->e;
	const char *link = archive_entry_hardlink(e) ?: archive_entry_symlink(e);
	const int64_t mtime = archive_entry_mtime(e), uid = archive_entry_uid(e);
	const int64_t gid = archive_entry_gid(e);

	if (!is_utf8(p->name) || (link && !is_utf8(link)))
		add_text(out, "hdrcharset", "BINARY");
	if (p->map) {
		add_text(out, "GNU.sparse.major", "1");
		add_text(out, "GNU.sparse.minor", "0");
		add_text(out, "GNU.sparse.name", p->name);
		add_number(out, "GNU.sparse.realsize", (uint64_t)archive_entry_size(e));
	} else {
		add_name(out, "path", p->name);
	}
	if (link)
		add_name(out, "linkpath", link);
	if (p->size > MAX_11)
		add_number(out, "size", p->size);
	if (uid > MAX_7)
		add_number(out, "uid", (uint64_t)uid);
	if (gid > MAX_7)
		add_number(out, "gid", (uint64_t)gid);
	if (mtime < 0 || mtime > (int64_t)MAX_11 || archive_entry_mtime_nsec(e))
		add_time(out, mtime, archive_entry_mtime_nsec(e));
	if (p->acls->access)
		add_text(out, "SCHILY.acl.access", p->acls->access);
	if (p->acls->by_default)
		add_text(out, "SCHILY.acl.default", p->acls->by_default);
	add_attrs(out, e);
}

int bow_layer_pax_pad(struct bow_layer *l, uint64_t bytes, struct bowimg_error *err)
{
	static const char zeros[BOW_PAX_BLOCK];
	const size_t over = bytes % BOW_PAX_BLOCK;

	return over ? bow_layer_put_data(l, zeros, BOW_PAX_BLOCK - over, err) : 0;
}

static int put_records(struct bow_layer *l, const char *text, size_t bytes,
		       struct bowimg_error *err)
{
	struct ustar h;
	int rc;

	if (!bytes)
		return 0;
	begin_head(&h, "././@PaxHeader", 'x', 0644, bytes);
	set_sum(&h);
	rc = bow_layer_put_data(l, &h, sizeof(h), err);
	if (!rc)
		rc = bow_layer_put_data(l, text, bytes, err);
	return rc ? rc : bow_layer_pax_pad(l, bytes, err);
}

static int put(struct bow_layer *l, const struct pax *p, struct bowimg_error *err)
{
	CLEANUP_FREE char *text = NULL;
	struct ustar h;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	int rc;

	if (!out)
		return bow_diff_no_memory(err);
	add_records(out, p);
	if (fclose(out) != 0)
		return bow_diff_no_memory(err);
	rc = put_records(l, text, bytes, err);
	fill_head(&h, p->e, p->map ? "GNUSparseFile.0/data" : p->name, p->size);
	if (!rc)
		rc = bow_layer_put_data(l, &h, sizeof(h), err);
	return !rc && p->map ? bow_layer_put_data(l, p->map, p->map_bytes, err) : rc;
}

int bow_layer_pax_head(struct bow_layer *l, struct bowimg_error *err)
{
	struct archive_entry *e = l->entry;
	const char *path = archive_entry_pathname(e);
	struct pax p = {.e = e, .acls = &l->acls, .name = malloc(strlen(path) + 2)};
	uint64_t data_bytes = 0;
	int rc = -ENOMEM;

	if (archive_entry_filetype(e) == AE_IFREG && !archive_entry_hardlink(e))
		p.size = (uint64_t)archive_entry_size(e);
	if (p.name)
		strcpy(stpcpy(p.name, path), type_of(e) == '5' ? "/" : "");
	if (p.name && archive_entry_sparse_count(e)) {
		p.map = bow_layer_pax_map(e, &p.map_bytes, &data_bytes);
		p.size = p.map_bytes + data_bytes;
	}
	if (p.name && (p.map || !archive_entry_sparse_count(e)))
		rc = put(l, &p, err);
	else
		bow_diff_no_memory(err);
	free(p.name);
	free(p.map);
	return rc;
}

int bow_layer_pax_begin(struct bow_layer *l)
{
	/* For libarchive the whole archive is one file. */
	archive_entry_clear(l->entry);
	archive_entry_set_filetype(l->entry, AE_IFREG);
	return archive_write_header(l->archive, l->entry) == ARCHIVE_OK ? 0 : -1;
}

/* Two blocks of zeros. */
int bow_layer_pax_end(struct bow_layer *l, struct bowimg_error *err)
{
	static const char zeros[2 * BOW_PAX_BLOCK];

	return bow_layer_put_data(l, zeros, sizeof(zeros), err);
}
