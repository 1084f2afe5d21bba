/* SPDX-License-Identifier: MIT */
/* A GPT's names: UTF-16 on the disk, UTF-8 for us. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/partitions/table.h"

#define UNITS 36u /* of 16 bits */

static bool is_high(uint32_t c)
{
	return c >= 0xd800 && c <= 0xdbff;
}

static bool is_low(uint32_t c)
{
	return c >= 0xdc00 && c <= 0xdfff;
}

/* At most four bytes; half a pair that stands alone is passed on as it is. */
static size_t encode(uint32_t c, char *out)
{
	const size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

	for (size_t i = bytes - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(lead[bytes] | c);
	return bytes;
}

void bow_table_name(const uint8_t utf16[2 * UNITS], char out[BOW_PART_NAME_BYTES])
{
	size_t n = 0;

	_Static_assert(BOW_PART_NAME_BYTES > 3 * UNITS, "a unit takes at most three bytes");
	for (uint32_t i = 0; i < UNITS; i++) {
		uint32_t c = bow_get16(utf16 + (size_t)i * 2), low;

		if (!c)
			break;
		low = i + 1 < UNITS ? bow_get16(utf16 + (size_t)i * 2 + 2) : 0;
		if (is_high(c) && is_low(low)) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i++;
		}
		n += encode(c, out + n);
	}
	while (n > 0 && strchr(" \t\n\v\f\r", out[n - 1]))
		n--;
	out[n] = '\0';
}
