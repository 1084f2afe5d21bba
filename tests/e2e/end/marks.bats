#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The pipeline: prepare, install, trim, mark, and then test and go back, again and again; over every
# road to the disk, on several file systems. Going back must bring the disk of the mark, and a rollback
# that of prepare.
#
#	MARK_ROUNDS	tests that are run (2)
#	MARK_MIB	what each of them writes (6)
#	MARK_FILES	what is installed (1000)

load ../../lib/common
load ../../lib/e2e
load ../../lib/front
load ../../lib/remote
load ../../lib/filesystems

setup() {
	common_setup
	requires root loop fuse jq fstrim
	ROUNDS=${MARK_ROUNDS:-2}
	MIB=${MARK_MIB:-6}
	FILES=${MARK_FILES:-1000}
	image=$T/disk.img
}

# smaller: the first test does the whole of it; for the others the road or the file system is what counts.
smaller() {
	ROUNDS=2
	MIB=$((MIB < 24 ? MIB : 24))
	FILES=$((FILES < 1000 ? FILES : 1000))
}

# A URI is not found by the common clean-up.
teardown() {
	[ -z "${remote:-}" ] || timeout 60 "$BOWIMG" umount "$remote" >/dev/null 2>&1 || true
	common_teardown
}

# make_disk KIND: disk.img with a file system of this kind that has a few files; sets $before.
make_disk() {
	kind=$1
	fs_requires "$kind"
	if [ "$kind" = ext4 ]; then
		make_ext4 disk.img $((64 + 4 * MIB + FILES / 100))M -b 4096
	else
		fs_make "$kind" disk.img $((320 + 4 * MIB))M
	fi
	remember
}

# packages: an archive of many small files, and a large one.
packages() {
	local i
	mkdir -p packages/lib
	for ((i = 0; i < FILES; i++)); do
		echo "file $i of a package, $RANDOM" >"packages/lib/$i"
	done
	head -c 3M /dev/urandom >packages/large
	tar -cf packages.tar packages
	rm -r packages
}

# install: into the mounted disk; what it needed meanwhile is deleted, and trimmed.
install_packages() {
	up_at
	within 120 tar -C mnt -xf packages.tar
	head -c 4M /dev/urandom >mnt/cache
	within 60 sync -f mnt
	rm mnt/cache
	down_at
}

# up_at, down_at: by the road that the test takes.
up_at() {
	mkdir -p mnt
	expect 0 mount "$image" mnt
}

down_at() {
	within 120 fstrim mnt || true
	expect 0 umount "$image"
}

# use_disk N: what a test does: it overwrites, adds, deletes.
use_disk() {
	up_at
	[ ! -e "mnt/trace" ]
	echo "$1" >mnt/trace
	within 120 dd if=/dev/urandom of="mnt/new" bs=1M count="$MIB" conv=fsync status=none
	within 60 dd if=/dev/urandom of=mnt/packages/large bs=64k count=32 conv=notrunc,fsync status=none
	rm -rf mnt/packages/lib/*"$1"
	mv mnt/packages/lib mnt/packages/moved
	within 60 sync -f mnt
	rm mnt/new
	down_at
}

# view COMMAND...: on the disk as it is now, {} for it.
view() {
	within 240 "$BOWIMG" run -q --via=fuse --on-success=keep --on-failure=keep "$image" -- "$@"
}

# The checksum of the whole disk, as the guest has it; in exact mode that must come back.
disk_sum() {
	view sha256sum '{}' | cut -d' ' -f1
}

# files_of: the names and checksums of all files, after its checker has found nothing.
files_of() {
	view cp --sparse=always '{}' copy.img
	fs_check "$kind" copy.img >check.log 2>&1 || {
		cat check.log
		return 1
	}
	fs_sums "$kind" copy.img
	rm copy.img
}

# marked NAME: mark the disk; what it is then stays in NAME.files and NAME.sum.
marked() {
	files_of >"$1.files"
	expect 0 mark -q "$image" "$1"
	disk_sum >"$1.sum"
	[ "$(wc -l <"$1.files")" -gt 5 ]
}

# is_at NAME: the disk is as it was when it was marked so.
is_at() {
	[ "$(disk_sum)" = "$(cat "$1.sum")" ] || {
		echo "the disk is not what it was at $1"
		[ "$exact" = false ] || return 1
	}
	files_of | diff "$1.files" -
}

# pipeline KIND END [PREPARE-OPTION...]: END is rollback or commit.
pipeline() {
	local round free
	make_disk "$1"
	packages
	[ -z "${remote_by:-}" ] || "$remote_by"
	expect 0 prepare -q "${@:3}" "$image"
	exact=$(key exact "$image")
	install_packages
	marked base
	for ((round = 0; round < ROUNDS; round++)); do
		use_disk "$round"
		expect 0 rollback -q --to=base "$image"
		is_at base
		free=${free:-$(key free-left-bytes "$image")}
		# A loop needs no more room in its last round than in its first.
		[ "$(key free-left-bytes "$image")" -ge $((free - 65536)) ]
	done
	use_disk 7
	expect 0 mark -q "$image" second
	use_disk_again
	expect 0 rollback -q --to=second "$image"
	[ "$("$BOWIMG" mark --list --json "$image" | json 'map(.name) | join(" ")')" = 'base second' ]
	use_disk_again
	expect 0 rollback -q --to=base "$image"
	is_at base
	[ "$("$BOWIMG" mark --list --json "$image" | json 'map(.name) | join(" ")')" = base ]
	expect 0 verify "$image"
	end_by "$2"
}

# The trace of the test is there already.
use_disk_again() {
	up_at
	[ "$(cat mnt/trace)" = 7 ]
	within 60 dd if=/dev/urandom of=mnt/packages/large bs=64k count=40 conv=notrunc,fsync status=none
	down_at
}

end_by() {
	case $1 in
	rollback)
		expect 0 rollback "$image"
		if [ "$exact" = true ]; then same_as "$before"; fi
		;;
	commit)
		expect 0 commit "$image"
		fs_check "$kind" disk.img
		fs_sums "$kind" disk.img | diff base.files -
		;;
	esac
	[ "$(key state)" = none ]
	nothing_left
}

@test "ext4, mounted through a loop device: each test begins at the mark; then a rollback" {
	pipeline ext4 rollback --exact
}

@test "the same where free space is not exact; then a commit" {
	smaller
	pipeline ext4 commit --no-exact
}

@test "the same with all backups past the end of the file" {
	smaller
	pipeline ext4 rollback --store=tail
	[ "$(stat -c %s disk.img)" -eq $(((64 + 4 * MIB + FILES / 100) << 20)) ]
}

@test "the same on XFS" {
	smaller
	requires partclone.xfs
	pipeline xfs rollback
}

@test "the same on btrfs" {
	smaller
	requires partclone.btrfs
	pipeline btrfs rollback
}

@test "the same on an image on an NBD server" {
	smaller
	requires nbdkit
	remote_by=by_server
	pipeline ext4 rollback --exact
}

by_server() {
	remote
	image=$remote
}

@test "the same through FUSE, without a loop device of ours" {
	smaller
	requires fuse2fs
	up_at() {
		mkdir -p mnt fuse
		expect 0 attach --fuse fuse "$image"
		within 60 fuse2fs -o fakeroot "$T/fuse/disk" mnt
	}
	down_at() {
		within 60 umount mnt
		wait_until released
		expect 0 detach "$image"
	}
	pipeline ext4 rollback --exact
}

# fuse2fs ends some time after its mount is gone.
released() {
	! fuser -s fuse/disk
}

@test "the same over NBD" {
	smaller
	requires nbdkit qemu-io
	# There is no file system on this road: blocks are written, trimmed and zeroed.
	make_disk ext4
	expect 0 prepare -q --exact disk.img
	exact=true
	over_nbd -c 'write -P 1 20M 3M' -c 'discard 21M 1M' -c 'write -z 4M 64k'
	marked_disk base
	for ((round = 0; round < ROUNDS; round++)); do
		over_nbd -c "write -P 2 8M ${MIB}M" -c "discard 8M ${MIB}M" -c 'write -P 4 20M 2M' -c flush
		expect 0 rollback -q --to=base disk.img
		[ "$(disk_sum)" = "$(cat base.sum)" ]
	done
	over_nbd -c 'write -P 5 1M 1M'
	marked_disk second
	over_nbd -c 'write -P 6 0 6M' -c 'discard 20M 4M'
	expect 0 rollback -q --to=second disk.img
	[ "$(disk_sum)" = "$(cat second.sum)" ]
	expect 0 rollback -q --to=base disk.img
	[ "$(disk_sum)" = "$(cat base.sum)" ]
	end_by rollback
}

over_nbd() {
	expect 0 run -q --via=nbd --on-success=keep --on-failure=keep disk.img -- qemu-io -f raw -d unmap "$@" '{}'
}

marked_disk() {
	expect 0 mark -q disk.img "$1"
	disk_sum >"$1.sum"
}

@test "run --to is the whole loop" {
	smaller
	make_disk ext4
	packages
	expect 0 prepare -q --exact disk.img
	exact=true
	install_packages
	marked base
	for code in 0 5; do
		expect "$code" run -q --to=base disk.img -- sh -c 'mkdir -p at && mount "$1" at &&
			rm -r at/packages/lib && echo >at/trace && umount at && exit "$2"' sh '{}' "$code"
		is_at base
	done
	end_by rollback
}

@test "the disk at a mark is mounted beside the disk, and beside what it was at prepare" {
	smaller
	make_disk ext4
	packages
	expect 0 prepare -q --exact disk.img
	exact=true
	install_packages
	marked base
	up_at
	mkdir old
	expect 0 mount --before=base disk.img old
	rm -r mnt/packages
	within 60 dd if=/dev/urandom of=mnt/new bs=1M count=3 conv=fsync status=none
	[ -e old/packages/lib/1 ] && [ ! -e old/new ]
	tree_sums old | diff base.files -
	refused 4 'mounted already' mount --before disk.img fs
	expect 0 umount old
	expect 0 mount --before disk.img old
	[ ! -e old/packages ]
	expect 0 umount old
	expect 0 mount --before=prepare disk.img old
	[ ! -e old/packages ]
	expect 0 umount old
	refused 3 'no mark' mount --before=nix disk.img old
	expect 0 umount mnt
	nothing_left
	# Alone.
	expect 0 mount --before=base disk.img old
	tree_sums old | diff base.files -
	expect 0 umount old
	expect 1 diff --files --from=base disk.img
	grep -q '^deleted.*packages/lib/1$' <<<"$output"
	expect 0 rollback -q --to=base disk.img
	is_at base
	expect 0 diff --files --from=base disk.img
	end_by rollback
}
