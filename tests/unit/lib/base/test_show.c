/* SPDX-License-Identifier: MIT */
/* What reaches a terminal, and names that are pasted into a shell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/base/err.h"
#include "lib/base/show.h"
#include "lib/rng.h"

static size_t encode(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((0xf00 >> n) | c);
	return n;
}

static void of_all_characters_control_characters_alone_are_not_shown(void **state)
{
	(void)state;
	for (uint32_t c = 1; c < 0x120000; c++) {
		char text[8] = "";
		size_t n = encode(text, c);
		bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
		bool exists = c < 0x110000 && (c < 0xd800 || c >= 0xe000);

		if (bow_shown_bytes(text) != (control || !exists ? 0 : n))
			fail_msg("U+%04X", c);
	}
}

/* No byte pair or triple gives a terminal of any encoding a control character. */
static void bytes_that_are_no_utf_8_are_never_passed_on(void **state)
{
	char text[4] = "", shown[BOW_SHOWN_MAX(3)];

	(void)state;
	for (unsigned v = 1; v < 1u << 24; v += v < 1 << 16 ? 1 : 97) {
		memcpy(text, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16)}, 3);
		bow_show(shown, sizeof(shown), text);
		for (const char *p = shown; *p;) {
			size_t n = bow_shown_bytes(p);

			if (n == 0)
				fail_msg("%06x", v);
			p += n;
		}
	}
}

static void what_is_not_shown_is_written_in_hexadecimal_and_cut_between_characters(void **state)
{
	char shown[64], small[8];

	(void)state;
	assert_string_equal(bow_show(shown, sizeof(shown), "a\033[2J\x9b\xc2\x9b\n\\ \xc3\xa9"),
			    "a\\x1b[2J\\x9b\\xc2\\x9b\\x0a\\ \xc3\xa9");
	assert_string_equal(bow_show(small, sizeof(small), "123456\xc3\xa9"), "123456");
	assert_string_equal(bow_show(small, sizeof(small), "12345\033"), "12345");
	assert_string_equal(bow_show(small, 1, "1"), "");
}

static void plain_names_are_left_alone(void **state)
{
	char word[32];

	(void)state;
	assert_string_equal(bow_shell_word(word, sizeof(word), "/a/b-c_d.img"), "/a/b-c_d.img");
	assert_string_equal(bow_shell_word(word, sizeof(word), "-rf"), "./-rf");
	assert_string_equal(bow_shell_word(word, sizeof(word), "it's"), "'it'\\''s'");
	assert_string_equal(bow_shell_word(word, sizeof(word), "~"), "'~'");
	assert_string_equal(bow_shell_word(word, sizeof(word), "a\nb"), "$'a\\012b'");
}

/* Half a path may be the path of something else. */
static void a_name_without_room_is_not_cut(void **state)
{
	struct bowimg_error err = {0};
	char word[16], path[300];

	(void)state;
	assert_string_equal(bow_shell_word(word, sizeof(word), "123456789012345"),
			    "123456789012345");
	assert_string_equal(bow_shell_word(word, sizeof(word), "1234567890123456"), "PATH");
	assert_string_equal(bow_shell_word(word, sizeof(word), "123 56789012345"), "PATH");
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	bow_err_hint(&err, "umount %s", BOW_WORD(path));
	assert_string_equal(err.hint, "umount PATH");
}

enum { NAMES = 400, NAME_BYTES = 24 };

/* Mostly of what is special to shells and terminals. */
static void make_name(struct rng *rng, char name[NAME_BYTES])
{
	static const char special[] = "-~ '\"\\$`!*?[]{}()<>|&;#=%^@\n\t\r\033\x7f\x80\x9b\xc2\xc3"
				      "\xff"
				      "019abx";
	size_t bytes = 1 + rng_below(rng, NAME_BYTES - 1);

	for (size_t i = 0; i < bytes; i++) {
		uint8_t any = (uint8_t)(1 + rng_below(rng, 255));

		name[i] = rng_below(rng, 4) ? special[rng_below(rng, sizeof(special) - 1)]
					    : (char)any;
	}
	name[bytes] = '\0';
}

static void a_shell_reads_every_word_as_the_name_it_stands_for(void **state)
{
	char names[NAMES][NAME_BYTES], word[BOW_SHOWN_MAX(NAME_BYTES) + 8], got[NAME_BYTES + 8];
	char script[] = "/tmp/bowimg-show.XXXXXX", command[64];
	struct rng rng = {.state = 1};
	int fd = mkstemp(script);
	FILE *f = fdopen(fd, "w");

	(void)state;
	assert_non_null(f);
	for (int i = 0; i < NAMES; i++) {
		make_name(&rng, names[i]);
		fprintf(f, "printf '%%s\\0' %s\n", bow_shell_word(word, sizeof(word), names[i]));
		for (const char *p = word; *p; p += bow_shown_bytes(p))
			assert_int_not_equal(bow_shown_bytes(p), 0);
	}
	fclose(f);
	snprintf(command, sizeof(command), "bash %s", script);
	FILE *shell = popen(command, "r");
	for (int i = 0; i < NAMES; i++) {
		const char *wanted = names[i];
		size_t n = 0;
		int c;

		while ((c = getc(shell)) > 0 && n + 1 < sizeof(got))
			got[n++] = (char)c;
		got[n] = '\0';
		if (wanted[0] == '-')
			assert_memory_equal(got, "./", 2);
		assert_string_equal(got + (wanted[0] == '-' ? 2 : 0), wanted);
	}
	assert_int_equal(pclose(shell), 0);
	unlink(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_all_characters_control_characters_alone_are_not_shown),
		cmocka_unit_test(bytes_that_are_no_utf_8_are_never_passed_on),
		cmocka_unit_test(
			what_is_not_shown_is_written_in_hexadecimal_and_cut_between_characters),
		cmocka_unit_test(plain_names_are_left_alone),
		cmocka_unit_test(a_name_without_room_is_not_cut),
		cmocka_unit_test(a_shell_reads_every_word_as_the_name_it_stands_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
