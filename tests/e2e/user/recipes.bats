#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The recipes of bowimg-recipes(7), as they stand there: all of them, as the last test makes sure. Jobs of
# GitHub and GitLab run without their runners: their script lines in a mount namespace without FUSE.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/e2e
load ../../lib/disk
load ../../lib/vm
load ../../lib/examples

PAGE=bowimg-recipes.7

setup() {
	common_setup
	requires root loop fuse jq
	examples_setup
}

# recipe WORD: the first example of the page that has it.
recipe() {
	example "$1" "$PAGE" >script
	pasted
}

# script_lines: of jobs in YAML the lines that a shell gets, of other examples all lines. A line
# "#step" stands before those that one shell gets, "#step always" if they run after a failure, too.
script_lines() {
	awk '
	function indent(line) { match(line, /^ */); return RLENGTH }
	/^\.EX/ { fresh = 1; next }
	/^\./ { next }
	fresh { yaml = /^[a-z]+:$/; fresh = 0; depth = -1; gitlab = 0 }
	!yaml { print; next }
	{ here = indent($0) }
	depth >= 0 && here > depth {
		if (cut < 0) cut = here
		line = substr($0, cut + 1)
		if (items) sub(/^- /, "", line)
		print line
		next
	}
	{ depth = -1 }
	/^ *- (name|uses):/ { always = "" }
	/^ *if: always\(\)/ { always = " always" }
	/^ *run: \|$/ { print "#step" always; depth = here; cut = -1; items = 0 }
	/^ *(before_|after_)?script:$/ {
		if (/after_/) print "#step always"
		else if (!gitlab++) print "#step"
		depth = here; cut = -1; items = 1
	}'
}

# job WORD COMMAND...: the job of the page that has WORD, each step in a shell of its own that COMMAND
# starts. Its status is that of the first step that fails.
job() {
	local result=0 step
	{ echo .EX; example "$1" "$PAGE"; } | script_lines >script
	shift
	executed || return 1
	mkdir steps
	awk '/^#step/ { n++ } { print >("steps/" n) }' script
	[ -e steps/2 ]
	for step in steps/*; do
		[ $result -eq 0 ] || head -n 1 "$step" | grep -q always || continue
		echo "== $step"
		within 60 "$@" bash -exo pipefail "$step" </dev/null || result=$?
	done >out 2>&1
	cat out
	return $result
}

# container: puts into bin what a container of the jobs has. In it FUSE does not work and nothing can be mounted.
container() {
	rm bin/bowimg
	cp "$BOWIMG" "$(dirname "$(realpath "$BOWIMG")")/nbdkit-bowimg-plugin.so" bin/
	printf '#!/bin/sh\necho "$@" >>apt.log\n' >bin/apt-get
	chmod -R a+rx bin .
	cat >inside <<-'END_INSIDE'
		#!/bin/sh
		exec unshare -m sh -c 'mount --bind /dev/null /dev/fuse && exec setpriv "$@"' sh "$@"
	END_INSIDE
	chmod +x inside
}

# The disk is the same for every test of a job, and is overwritten by each.
job_tests() {
	mkdir tests
	cat >tests/one <<-'END_TEST'
		#!/bin/sh -e
		nbdcopy "$1" "$0.copy"
		cmp "$0.copy" disk.clean
		head -c 64M /dev/urandom >noise
		nbdcopy noise "$1"
		nbdcopy "$1" "$0.copy"
		cmp "$0.copy" noise
		rm noise "$0.copy"
		echo "$0 has seen the disk"
	END_TEST
	cp tests/one tests/two
	chmod +x tests/*
	# mkfs.ext4 of the recipe keeps a copy for the tests.
	cat >bin/mkfs.ext4 <<-END_MKFS
		#!/bin/sh -e
		$(type -P mkfs.ext4) "\$@"
		cp --sparse=always disk.img disk.clean
	END_MKFS
	chmod +x bin/mkfs.ext4
}

@test "a test script: each test has the same disk, and its status counts" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	mkdir tests
	printf '#!/bin/sh\ncmp disk.clean "$1" && mke2fs -qF "$1"\n' | tee tests/one >tests/two
	chmod +x tests/*
	cp disk.img disk.clean
	recipe '--to=clean'
	[ "$(grep -cx 'ok tests/[a-z]*' out)" -eq 2 ]
	[ "$(key state)" = none ]
	[ "$(sum disk.img)" = "$before" ]
	printf '#!/bin/sh\nexit 3\n' >tests/one
	run ! recipe '--to=clean'
	grep -qx 'not ok tests/one' out
	grep -qx 'ok tests/two' out
	[ "$(sum disk.img)" = "$before" ]
}

@test "a mount for each test" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	mkdir tests
	printf '#!/bin/sh\n[ ! -e "$1/new" ] && rm -r "$1/sub" && echo >"$1/new"\n' | tee tests/one >tests/two
	echo false >>tests/two
	chmod +x tests/*
	recipe '--again'
	grep -qx 'failed: tests/two' out
	run ! grep -qx 'failed: tests/one' out
	[ "$(key state)" = none ]
	[ "$(sum disk.img)" = "$before" ]
}

@test "which files may change: as expected, and one too many" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	printf '#!/bin/sh\nprintf "mkdir etc\\nwrite install.sh etc/tool.conf\\nrm file3\\n" | debugfs -w -f - "$1"\n' >install.sh
	chmod +x install.sh
	printf 'added /etc/tool.conf\ndeleted /file3\n' >expected
	recipe 'diff expected changed'
	[ "$(sum disk.img)" = "$before" ]
	sed -i 2d expected
	run ! recipe 'diff expected changed'
	grep -qx '> deleted /file3' out
	[ "$(sum disk.img)" = "$before" ]
}

@test "a job of GitHub Actions, by a root that may not mount" {
	requires nbdkit nbdcopy setpriv
	container
	job_tests
	job jobs: ./inside --bounding-set=-sys_admin
	grep -q 'install -y e2fsprogs' apt.log
	[ "$(grep -c 'has seen the disk' out)" -eq 2 ]
	grep -q 'as it was' out
	[ "$(key state)" = none ]
	clean_fs
}

@test "a job of GitHub Actions undoes what a failing test did" {
	requires nbdkit nbdcopy setpriv
	container
	job_tests
	echo 'exit 1' >>tests/one
	run ! job jobs: ./inside --bounding-set=-sys_admin
	[ "$(grep -c 'has seen the disk' out)" -eq 1 ]
	grep -q 'as it was' out
	[ "$(key state)" = none ]
	clean_fs
}

@test "a job of GitLab CI, by a user" {
	requires nbdkit nbdcopy setpriv
	container
	mkdir work
	printf '#!/bin/sh\nhead -c 1M /dev/urandom >noise\nnbdcopy - "$1" <noise\n' >work/change.sh
	chmod +x work/change.sh
	chown -R 65534:65534 work
	mv inside work
	cp -r bin work
	cd work
	unset XDG_RUNTIME_DIR
	export PATH=$T/work/bin:$PATH
	job after_script: ./inside --reuid=65534 --regid=65534 --clear-groups
	[ "$(grep -c install apt.log)" -eq 1 ]
	cmp -n $((1 << 20)) noise after.img
	[ ! -e disk.sock ]
	grep -q 'as it was' out
	[ "$(key state disk.img)" = none ]
	clean_fs disk.img
}

# guest_boots TASK: QEMU boots a kernel that does this on its disk, whatever else QEMU is given. It emulates: a
# machine that is virtual itself may have a KVM that does not work.
guest_boots() {
	export VM=$BATS_FILE_TMPDIR/vm
	vm_prepare "$VM"
	cp --sparse=always "$VM/root.img" vm.img
	cat >bin/qemu-system-x86_64 <<-END_QEMU
		#!/bin/sh
		for word; do
			shift
			[ "\$word" != kvm ] || word=tcg
			set -- "\$@" "\$word"
		done
		exec $(type -P qemu-system-x86_64) "\$@" -kernel '$VM/boot/vmlinuz-$vm_version' -initrd '$VM/initrd' \\
			-append 'console=ttyS0 quiet panic=-1 task=$1'
	END_QEMU
	chmod +x bin/qemu-system-x86_64
}

@test "a virtual machine: what it did, and back to a mark" {
	requires nbdkit
	guest_boots change
	before=$(sum vm.img)
	TYPED_LIMIT=240 recipe qemu-system
	grep -q 'guest has finished' out
	grep -qE '^2 added, 1 deleted, [1-9]' out
	grep -q "the disk is as at the mark 'installed'" out
	expect 0 rollback vm.img
	[ "$(sum vm.img)" = "$before" ]
}

teardown() {
	[ -z "${made:-}" ] || rmdir "$made"
	common_teardown
}

# libguestfs boots a machine of its own, of this kernel, and emulates it.
guestfish_works() {
	requires nbdkit guestfish
	vm_requires
	export VM=$BATS_FILE_TMPDIR/vm
	vm_kernel "$VM"
	export SUPERMIN_KERNEL=$VM/boot/vmlinuz-$vm_version SUPERMIN_MODULES=$VM/lib/modules/$vm_version
	export LIBGUESTFS_CACHEDIR=$BATS_FILE_TMPDIR/guestfs LIBGUESTFS_BACKEND_SETTINGS=force_tcg
	mkdir -p "$LIBGUESTFS_CACHEDIR"
	# supermin wants it to be there, whichever modules it is given; a machine without kernels has none.
	[ -d /lib/modules ] || { requires root; mkdir /lib/modules; made=/lib/modules; }
	requires sfdisk mkfs.vfat mkswap
	cloud_disk disk.img
	before=$(sum disk.img)
	echo 'be kind' >motd
}

@test "libguestfs: what guestfish did is looked at, and kept" {
	guestfish_works
	printf 'mkdir /etc\nupload motd /etc/motd\n' >change.fish
	TYPED_LIMIT=240 recipe guestfish
	grep -qx 'added     /etc/motd' out
	grep -q committed out
	[ "$(key state disk.img)" = none ]
	expect 0 prepare -q disk.img
	mkdir root
	expect 0 mount -p 2 disk.img root
	cmp motd root/etc/motd
	expect 0 umount root
}

@test "libguestfs: what a script of guestfish did before it failed is undone" {
	guestfish_works
	printf 'mkdir /etc\nupload motd /etc/motd\nrm /none\n' >change.fish
	TYPED_LIMIT=240 run ! recipe guestfish
	grep -q 'rm: /none' out
	grep -q 'rolled back' out
	[ "$(sum disk.img)" = "$before" ]
}

# sd_card: $card, a disk with a system in partition 2 and something to update it with.
sd_card() {
	requires sfdisk mkfs.vfat mkswap busybox
	cloud_disk card.img
	card=$(losetup -f --show -P card.img)
	mkdir -p update/bin
	cp "$(type -P busybox)" update/bin/
	printf '#!/bin/busybox sh\nexit %s\n' "$1" >update/bin/selftest
	chmod +x update/bin/selftest
	before=$(sum card.img)
	example card=/dev "$PAGE" >script
	executed
	sed -i "s,/dev/sdX,$card," script
	typed || {
		cat out
		return 1
	}
	losetup -d "$card"
}

@test "an SD card: an update that works is kept" {
	sd_card 0
	grep -q committed out
	expect 0 prepare -q card.img
	expect 0 mount -p 2 card.img root
	cmp root/bin/busybox update/bin/busybox
	expect 0 umount root
	expect 0 rollback card.img
}

@test "an SD card: an update that does not work is undone" {
	sd_card 1
	grep -q 'rolled back' out
	[ "$(key state card.img)" = none ]
	expect 0 prepare -q card.img
	expect 0 mount -p 2 card.img root
	[ ! -e root/bin/selftest ]
	expect 0 umount root
	expect 0 rollback card.img
}

# mmdebstrap needs a mirror; this one makes something like a system where the recipe says.
little_mmdebstrap() {
	cat >bin/mmdebstrap <<-'END_MMDEBSTRAP'
		#!/bin/sh -e
		[ "$*" = '--variant=apt bookworm root' ]
		mkdir -p root/etc root/usr/bin
		echo base >root/etc/role
		head -c 8M /dev/urandom >root/usr/bin/tool
	END_MMDEBSTRAP
	for role in web mail; do
		printf '#!/bin/sh -e\n[ "$(cat "$1/etc/role")" = base ]\necho %s >"$1/etc/role"\necho %s >"$1/etc/%s"\n' \
			$role $role $role >install-$role.sh
	done
	chmod +x bin/mmdebstrap install-*.sh
}

content() {
	debugfs -R "cat $2" "$1" 2>/dev/null
}

@test "images from one base" {
	little_mmdebstrap
	recipe mmdebstrap
	[ "$(key state base.img)" = none ]
	clean_fs base.img
	[ "$(content base.img etc/role)" = base ]
	[ -z "$(content base.img etc/web)" ]
	[ "$(stat -c %s web.tar.zst)" -lt $((1 << 20)) ]
	recipe 'apply web.tar.zst'
	clean_fs web.img
	[ "$(content web.img etc/role)" = web ]
	cmp <(content web.img usr/bin/tool) <(content base.img usr/bin/tool)
	cp --sparse=always base.img mail.img
	expect 0 apply mail.tar.zst mail.img
	clean_fs mail.img
	[ "$(content mail.img etc/mail)" = mail ]
}

@test "no recipe was left out" {
	text_of_page "$PAGE" | sed -n '/^\.EX/,/^\.EE/p' | script_lines | joined >all
	[ "$(wc -l <all)" -gt 60 ]
	all_executed
}
