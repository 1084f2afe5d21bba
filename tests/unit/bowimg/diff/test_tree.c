/* SPDX-License-Identifier: MIT */
/* The list of a tree that is mounted: any directory will do. */
#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bowimg/diff/mounted/data.h"
#include "lib/disk/disk.h"

static const struct bow_tree_kind with_numbers = {.name = "any", .keeps_numbers = true};
static const struct bow_tree_kind without_numbers = {.name = "any"};

struct fixture {
	char dir[64];
	int fd;
	struct bow_changed changed;
	struct bow_numbers numbers;
	struct bow_tree tree;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/bowimg-tree.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	f->changed.block_size = 4096;
	f->tree = (struct bow_tree){.kind = &with_numbers,
				    .image = "disk.img",
				    .label = "as it is now",
				    .numbers = &f->numbers,
				    .changed = &f->changed,
				    .hash_data = true,
				    .mount_fd = f->fd};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	bow_tree_release(&f->tree);
	bow_numbers_release(&f->numbers);
	close(f->fd);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void put(const struct fixture *f, const char *name, const char *text, off_t off, off_t size)
{
	int fd = openat(f->fd, name, O_RDWR | O_CREAT, 0644);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), off), strlen(text));
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void list(struct fixture *f)
{
	struct bowimg_error err = {0};
	int rc = bow_tree_read(&f->tree, &err);

	if (rc)
		fail_msg("%d \"%s\"", rc, err.message);
}

static const struct bow_tree_file *named(const struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->tree.n_entries; i++)
		if (strcmp(f->tree.entries[i].name, name) == 0)
			return bow_tree_find(&f->tree, f->tree.entries[i].number);
	fail_msg("no %s", name);
	return NULL;
}

static bool same_data(const struct fixture *f, const char *a, const char *b)
{
	const struct bow_tree_hash *x = &named(f, a)->data, *y = &named(f, b)->data;

	return x->low == y->low && x->high == y->high;
}

static void names_of_one_inode_are_one_file(void **state)
{
	struct fixture *f = *state;

	put(f, "a", "text", 0, 4);
	assert_int_equal(linkat(f->fd, "a", f->fd, "b", 0), 0);
	assert_int_equal(symlinkat("a", f->fd, "link"), 0);
	assert_int_equal(mkdirat(f->fd, "dir", 0750), 0);
	put(f, "dir/c", "text", 0, 4);
	list(f);
	assert_ptr_equal(named(f, "a"), named(f, "b"));
	assert_int_equal(named(f, "a")->inode.links, 2);
	assert_int_equal(named(f, "c")->parent, named(f, "dir")->inode.ino);
	assert_int_equal(named(f, "dir")->inode.mode, S_IFDIR | 0750);
	assert_int_equal(named(f, "dir")->n_entries, 1);
	assert_int_equal(named(f, "dir")->parent, BOW_ROOT_INO);
	assert_int_equal(bow_tree_find(&f->tree, BOW_ROOT_INO)->n_entries, 4);
	assert_true(S_ISLNK(named(f, "link")->inode.mode));
	assert_null(bow_tree_find(&f->tree, f->numbers.last + 1));
}

static void without_lasting_numbers_each_name_is_a_file(void **state)
{
	struct fixture *f = *state;

	f->tree.kind = &without_numbers;
	put(f, "a", "text", 0, 4);
	assert_int_equal(linkat(f->fd, "a", f->fd, "b", 0), 0);
	list(f);
	assert_ptr_not_equal(named(f, "a"), named(f, "b"));
}

static void both_versions_give_one_number_to_one_inode(void **state)
{
	struct fixture *f = *state;
	struct bow_tree other = f->tree, apart = f->tree;
	struct bowimg_error err = {0};

	put(f, "a", "text", 0, 4);
	list(f);
	assert_int_equal(bow_tree_read(&other, &err), 0);
	assert_int_equal(other.files[1].inode.ino, f->tree.files[1].inode.ino);
	apart.space = UINT64_C(1) << 63;
	assert_int_equal(bow_tree_read(&apart, &err), 0);
	assert_int_not_equal(apart.files[1].inode.ino, f->tree.files[1].inode.ino);
	bow_tree_release(&other);
	bow_tree_release(&apart);
}

static void holes_and_zeros_are_the_same_data(void **state)
{
	struct fixture *f = *state;
	char *zeros = calloc(1, 3 << 20);
	int fd;

	put(f, "sparse", "text", 2 << 20, 3 << 20);
	fd = openat(f->fd, "full", O_RDWR | O_CREAT, 0644);
	assert_int_equal(pwrite(fd, zeros, 3 << 20, 0), 3 << 20);
	close(fd);
	free(zeros);
	put(f, "full", "text", 2 << 20, 3 << 20);
	put(f, "elsewhere", "text", (2 << 20) + 4096, 3 << 20);
	put(f, "other", "texT", 2 << 20, 3 << 20);
	put(f, "empty", "", 0, 0);
	put(f, "hole", "", 0, 1 << 30);
	list(f);
	assert_true(same_data(f, "sparse", "full"));
	assert_false(same_data(f, "sparse", "elsewhere"));
	assert_false(same_data(f, "sparse", "other"));
	assert_true(same_data(f, "empty", "hole"));
}

/* Directories below each other, with a file in the last. */
static void nest(const struct fixture *f, int depth)
{
	const char name[] = "a-name-of-forty-bytes-for-each-directory";
	int dir = dup(f->fd), next;

	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(dir, name, 0755), 0);
		next = openat(dir, name, O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(dir);
		dir = next;
	}
	next = openat(dir, "file", O_RDWR | O_CREAT, 0644);
	assert_int_equal(write(next, "deep", 4), 4);
	close(next);
	close(dir);
}

static void paths_longer_than_the_kernel_takes_are_read(void **state)
{
	struct fixture *f = *state;
	struct bowimg_error err = {0};
	char text[4];
	int fd;

	nest(f, 400);
	list(f);
	fd = bow_tree_open(&f->tree, named(f, "file"), O_RDONLY, &err);
	assert_true(fd >= 0);
	assert_int_equal(bow_tree_pread(fd, text, 4, 0), 0);
	assert_memory_equal(text, "deep", 4);
	assert_int_equal(bow_tree_pread(fd, text, 4, 1), -EIO);
	close(fd);
}

static void what_is_nested_too_deeply_is_damaged(void **state)
{
	struct fixture *f = *state;
	struct bowimg_error err = {0};

	nest(f, 1700);
	assert_int_equal(bow_tree_read(&f->tree, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "disk.img: compare files: a file, as it is now: "
					    "directories are nested too deeply"));
}

/* A window of 128 KiB with a few bytes in it. */
struct fake {
	struct bowimg_disk disk; /* must be first */
	uint64_t at;
	const char *bytes;
};

static int fake_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	const struct fake *fake = (struct fake *)disk;
	const uint64_t start = 512 + fake->at;

	(void)err;
	memset(buf, 0, bytes);
	for (size_t i = 0; i < bytes; i++)
		if (off + i >= start && off + i < start + strlen(fake->bytes))
			((char *)buf)[i] = fake->bytes[off + i - start];
	return 0;
}

static const char *probe(uint64_t at, const char *bytes, uint64_t window)
{
	static const struct bow_disk_ops ops = {.read = fake_read};
	struct fake fake = {{.built = &ops, .name = "fake", .size = 1 << 20}, at, bytes};
	const struct bow_diff_source source = {.disk = {&fake.disk, &fake.disk}};
	const struct bow_tree_kind *kind;
	uint8_t id[16];

	assert_int_equal(bow_tree_probe(&source, BOW_NEW, 512, window, &kind, id, NULL), 0);
	return kind ? kind->name : "none";
}

static void file_systems_are_known_by_their_magic(void **state)
{
	(void)state;
	assert_string_equal(probe(0, "XFSB", 1 << 17), "xfs");
	assert_string_equal(probe(65600, "_BHRfS_M", 1 << 17), "btrfs");
	assert_string_equal(probe(1024, "\x10\x20\xf5\xf2", 1 << 17), "f2fs");
	assert_string_equal(probe(3, "NTFS    ", 1 << 17), "ntfs");
	assert_string_equal(probe(3, "EXFAT   ", 1 << 17), "exfat");
	assert_string_equal(probe(54, "FAT12   ", 1 << 17), "vfat");
	assert_string_equal(probe(82, "FAT32   ", 1 << 17), "vfat");
	assert_string_equal(probe(65600, "_BHRfS_M", 65600), "none");
	assert_string_equal(probe(0, "hello", 1 << 17), "none");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(names_of_one_inode_are_one_file),
		TEST(without_lasting_numbers_each_name_is_a_file),
		TEST(both_versions_give_one_number_to_one_inode),
		TEST(holes_and_zeros_are_the_same_data),
		TEST(paths_longer_than_the_kernel_takes_are_read),
		TEST(what_is_nested_too_deeply_is_damaged),
		cmocka_unit_test(file_systems_are_known_by_their_magic),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
