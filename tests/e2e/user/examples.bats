#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The examples of the manual, of the README and of the help texts, as they stand there: all of them, as the
# last test makes sure.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/e2e
load ../../lib/disk
load ../../lib/dmbow
load ../../lib/examples

setup() {
	common_setup
	requires root loop fuse
	examples_setup
}

# manual WORD: the example of the manual that has it.
manual() {
	example "$1" >script
	pasted
}

# helped VERB: the examples of its help text.
helped() {
	examples_of_help "$1" >script
	[ -z "${STATUS:-}" ] || sed -i "s/\$/ || [ \$? -eq $STATUS ]/" script
	pasted
}

examples_of_help() {
	"$BOWIMG" "$1" --help | sed -n '/^Examples\{0,1\}:$/,$s/^  //p'
}

# ended_with STATUS: the script goes on after a command with this status.
ended_with() {
	sed -i "\$s/\$/ || [ \$? -eq $1 ]/" script
}

# readme WORD...: the line of the README that begins so, which may end with $STATUS; then $AFTER.
readme() {
	sed -n 's/^    //p' "$ROOT_DIR/README.md" | awk -v line="bowimg $*" 'index($0, line) == 1' |
		head -n 1 >script
	[ -z "${STATUS:-}" ] || ended_with "$STATUS"
	echo "${AFTER:-}" >>script
	pasted
}

# signal SIGNAL PROGRAM: our process of this program gets it; fails while there is none.
signal() {
	local pid
	for pid in $(own_processes); do
		case $(readlink "/proc/$pid/exe") in */$2) kill "-$1" "$pid" && return ;; esac
	done
	return 1
}

# As wait_until, with the patience that a machine under load asks for.
patiently() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$@" && return
		sleep 0.1
	done
	return 1
}

# The machine runs for ever with nothing to boot: it is ended when it has run for a while.
end_machine() {
	patiently signal 0 'qemu-system-*'
	sleep 2
	signal TERM 'qemu-system-*'
}

untouched() {
	[ "$(key state "${1:-disk.img}")" = none ]
	clean_fs "${1:-disk.img}"
}

@test "the manual's quick start" {
	manual 'mount disk.img mnt'
	grep -q 'as it was, byte for byte' out
	untouched
	make_ext4 disk.img 16M
	manual 'attach --fuse'
	grep -q 'as it was, byte for byte' out
	untouched
}

# harm: a wrong count of links, which a file system that is marked clean can have.
harm() {
	within 20 debugfs -w -R 'set_inode_field file0 links_count 5' disk.img
	run ! clean_fs
}

@test "the manual: test and decide" {
	make_ext4 disk.img 16M
	harm
	example 'e2fsck -fy' >script
	ended_with 1
	pasted
	grep -q committed out
	untouched
	mkdir tests
	printf '#!/bin/sh\nexec tune2fs -L "$(basename "$0")" "$1"\n' | tee tests/one >tests/two
	chmod +x tests/*
	before=$(sum disk.img)
	manual 'tests/*'
	[ "$(grep -c 'fresh checkpoint' out)" -eq 2 ]
	[ "$(sum disk.img)" = "$before" ]
}

@test "the manual: a virtual machine, and the README's" {
	requires qemu-system-x86_64 nbdkit
	make_ext4 vm.img 16M
	manual qemu-system &
	end_machine
	wait $!
	grep -q 'rolled back' out
	untouched vm.img
	mv vm.img disk.img
	readme run --via=nbd &
	end_machine
	wait $!
	grep -q 'rolled back' out
	untouched
}

@test "the manual: a file in the second partition" {
	requires sfdisk mkfs.vfat mkswap
	cloud_disk vm.img
	expect 0 prepare -q vm.img
	mkdir mnt
	expect 0 mount -p 2 vm.img mnt
	mkdir -p mnt/etc/default
	echo quiet >mnt/etc/default/grub
	expect 0 umount mnt
	expect 0 commit -q vm.img
	manual 'mount -p 2'
	expect 0 prepare -q vm.img
	expect 0 mount -p 2 vm.img mnt
	[ "$(cat mnt/etc/default/grub)" = debug ]
	expect 0 umount mnt
}

@test "the manual: compare both states while both are mounted" {
	make_ext4 disk.img 16M
	example 'diff -r old new' | sed 's/^diff .*/& || [ $? -eq 1 ]/' >script
	pasted
	grep -q '^Only in new: file' out
	[ "$(key state)" = checkpoint ]
	expect 0 rollback disk.img
	untouched
}

@test "the manual and the README: patches" {
	make_ext4 disk.img 16M
	cp disk.img other.img
	before=$(sum disk.img)
	for how in manual readme; do
		expect 0 prepare --exact -q disk.img
		expect 0 run -q --on-success=keep --on-failure=keep disk.img -- tune2fs -L new {}
		if [ $how = manual ]; then
			manual 'apply update.tar.zst'
			cmp <(e2label other.img) <(echo new)
			manual 'export --undo'
		else
			cp "$T/kept.img" other.img
			readme export --undo
			readme export --redo
			readme apply update.tar.zst
			cmp <(e2label other.img) <(echo new)
			expect 0 commit --wipe disk.img
			expect 0 apply before.tar.zst disk.img
		fi
		[ "$(sum disk.img)" = "$before" ]
		cp disk.img kept.img
	done
}

@test "the manual: over NBD" {
	requires nbdkit nbdinfo
	make_ext4 disk.img 16M
	{
		example 'nbdkit -p'
		example 'prepare nbd:'
	} >script
	pasted
	kill_own TERM
	untouched
	plugins=$(nbdkit --dump-config | sed -n 's/^plugindir=//p')
	cp -a "$plugins" plugins
	cp "$(dirname "$(realpath "$BOWIMG")")/nbdkit-bowimg-plugin.so" plugins
	manual 'nbdkit bowimg'
	grep -q 'export-size: 16777216' out
	expect 0 rollback disk.img
}

@test "the manual: an image of unknown content, and a disk that dm-bow left" {
	head -c 1M /dev/urandom >disk.img
	manual 'free-from=none'
	expect 0 rollback disk.img
	dmbow_disk userdata.img
	manual userdata.img
	[ "$(key state userdata.img)" = none ]
}

@test "the README's example, and its roads to the disk" {
	sed -n '/^## Example/,/^## Why/s/^    //p' "$ROOT_DIR/README.md" | sed 's/^\(bowimg diff [^#]*\).*/\1 || [ $? -eq 1 ]/' >script
	pasted
	grep -qE '^[1-9][0-9]* added, 0 deleted' out
	grep -q 'as it was, byte for byte' out
	grep -q '^bowimg: disk.img: rolled back' out
	untouched
	expect 0 prepare -q disk.img
	readme attach disk.img
	expect 0 detach disk.img
	mkdir DIR old
	AFTER='ls DIR; bowimg detach disk.img' readme attach --fuse
	grep -qx disk out
	grep -qx before out
	AFTER='ls old; bowimg umount old' readme mount --before
	grep -qx lost+found out
	readme serve --socket &
	patiently grep -q '^nbd+unix:' out
	signal INT bowimg
	wait $!
	expect 0 rollback disk.img
	make_ext4 disk.img 16M
	harm
	STATUS=1 readme run --on-success
	grep -q committed out
	untouched
}

@test "the manual and the README: marks" {
	make_ext4 disk.img 16M
	mkdir tests old packages
	printf '#!/bin/sh\nexec tune2fs -L "$(basename "$0")" "$1"\n' | tee tests/one tests/two >test.sh
	chmod +x tests/* test.sh
	echo new >packages/file
	tar -cf packages.tar packages
	before=$(sum disk.img)
	manual '--to=installed'
	[ "$(grep -c "rolled back to the mark 'installed'" out)" -eq 2 ]
	[ "$(sum disk.img)" = "$before" ]
	expect 0 prepare -q disk.img
	manual 'mark disk.img base'
	grep -q "the disk is as at the mark 'base'" out
	expect 0 rollback -q disk.img
	manual 'mark disk.img clean'
	grep -q "rolled back to the mark 'clean'" out
	readme mark disk.img
	readme run --to
	grep -q "rolled back to the mark 'installed'" out
	readme rollback --to
	AFTER='ls old; bowimg umount old' readme mount --before=installed
	grep -qx lost+found out
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "the README: what changed" {
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	expect 0 run -q --on-success=keep --on-failure=keep disk.img -- debugfs -w -R 'mkdir new' {}
	for how in disk.img --files --tar; do
		sed -n "s/^    \(bowimg diff $how.*\)/\1/p" "$ROOT_DIR/README.md" | sed 's/ *#.*/ || [ $? -eq 1 ]/' >script
		pasted
	done
	bsdtar -tf layer.tar.zst | grep -qx new/
	expect 0 rollback disk.img
}

@test "the manual: what changed" {
	requires jq
	make_ext4 disk.img 16M
	printf '#!/bin/sh\necho one >one\nprintf "mkdir var\\nmkdir var/log\\nwrite one one\\nwrite one var/log/two\\n" |
		debugfs -w -f - "$1"\n' >install.sh
	chmod +x install.sh
	example layer.tar.zst | sed 's/^bowimg diff .*/& || [ $? -eq 1 ]/' >script
	pasted
	bsdtar -tf layer.tar.zst | grep -qx var/log/two
	untouched
	expect 0 prepare -q disk.img
	expect 0 run -q --on-success=keep --on-failure=keep disk.img -- ./install.sh {}
	manual jq
	grep -qx /one out
	run ! grep -q '^/var' out
	expect 0 rollback disk.img
}

@test "the help texts" {
	make_ext4 disk.img 16M
	cp disk.img other.img
	mkdir mnt fuse
	helped prepare
	grep -q 'checkpoint opened' out
	{
		examples_of_help mount
		echo 'echo new >mnt/new'
		examples_of_help umount
	} >script
	pasted
	helped status
	grep -q '"state": "checkpoint"' out
	helped list
	helped verify
	helped mark
	grep -q "marked 'installed'" out
	helped log
	grep -q copy out
	STATUS=1 helped diff
	grep -q '/new' out
	helped export
	helped apply
	debugfs -R 'cat new' other.img | grep -qx new
	{
		examples_of_help attach
		examples_of_help detach
	} >script
	pasted
	helped serve &
	patiently grep -q '^nbd+unix:' out
	signal INT bowimg
	wait $!
	helped rollback
	grep -q 'fresh checkpoint' out
	dd if=/dev/zero of=disk.img bs=512 count=1 conv=notrunc status=none
	helped rescue
	helped commit
	untouched
	helped map
	expect 0 rollback disk.img
	harm
	STATUS=1 helped run
	grep -q committed out
	untouched
}

# every_example: of all texts, a command a line; those of "Install" need another machine, and recipes.bats has
# those of bowimg-recipes(7).
every_example() {
	local page verb
	for page in "$ROOT_DIR"/man/*.[1-9]; do
		[ "${page##*/}" = bowimg-recipes.7 ] || text_of_page "${page##*/}"
	done | sed -n '/^\.EX/,/^\.EE/{/^\./d; p}' | joined
	sed '/^## Install/,/^## /d' "$ROOT_DIR/README.md" | sed -n 's/^    //p' | joined
	"$BOWIMG" --help | sed -n 's/^  \([a-z][a-z]*\)  *[a-z].*/\1/p' | while read -r verb; do
		examples_of_help "$verb" | grep . || echo "# no example in the help text of $verb"
	done | joined
}

@test "no example was left out" {
	every_example >all
	[ "$(wc -l <all)" -gt 50 ]
	all_executed
}
