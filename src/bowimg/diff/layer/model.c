/* SPDX-License-Identifier: MIT */
/* What the parts of the archive writer share: bytes through libarchive, and its errors. */
#include "bowimg/diff/layer/private.h"
#include "bowimg/host/outfile.h"

int bow_layer_fail(const struct bow_layer *l, struct bowimg_error *err)
{
	const int code = archive_errno(l->archive);
	const char *text = archive_error_string(l->archive);

	if (code == ENOSPC || code == EDQUOT || code == EFBIG)
		return bow_outfile_failed(-code, l->file, err);
	/* libarchive has codes of its own, which are negative. */
	return bow_err(err, code > 0 ? -code : -EIO, "write %s: %s", l->file, text ? text : "?");
}

int bow_layer_put_data(struct bow_layer *l, const void *data, size_t bytes,
		       struct bowimg_error *err)
{
	const uint8_t *p = data;

	while (bytes) {
		const la_ssize_t n = archive_write_data(l->archive, p, bytes);

		if (n <= 0)
			return bow_layer_fail(l, err);
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}
