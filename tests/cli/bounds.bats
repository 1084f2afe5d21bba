#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a small hostile input may cost: memory, time, and room on the disk of the host.
#
# The images are sparse, 12 TiB long and a few MiB on the disk; forge_log and forge_marks say what their
# logs have.
# What tests/tools/cost measures is resident memory, the processor time of the command's own code,
# and the bytes it has the kernel read and write, so that it does not matter what else the machine does.

load ../lib/common

TOOLS=$ROOT_DIR/build/tests/tools
COST=$TOOLS/cost
GIB=12000

teardown() {
	rm -f "${BIG:-}"
	common_teardown
}

# forge KIND COUNT: i.img, made anew.
FORGE=forge_log
forge() {
	"$TOOLS/$FORGE" i.img "$GIB" "$1" "$2"
}

# within MIB SECONDS VERB...: what bowimg says and exits with does not matter, what it costs does;
# afterwards i.img takes no more room than before.
within() {
	local mib=$1 seconds=$2 before after
	status=0
	shift 2
	before=$(stat -c %b i.img)
	"$COST" "$mib" "$seconds" "$BOWIMG" "$@" 2>said >/dev/null || status=$?
	echo "bowimg $*: $status $(cat said)"
	[ "$status" -lt 96 ]
	after=$(stat -c %b i.img)
	# The plan of the last step takes a few blocks until it is done.
	[ "$after" -le $((before + 256)) ] || {
		echo "it grew from $before to $after sectors"
		return 1
	}
}

# refused_by_all KIND COUNT PATTERN: every verb reads the whole log first.
refused_by_all() {
	local verb
	forge "$1" "$2"
	for verb in status log diff "diff --files" "export --redo -o redo.tar" rollback commit; do
		# shellcheck disable=SC2086 # words
		within 64 1 $verb i.img
		grep -q -- "$3" said
	done
	dd if=/dev/zero of=i.img bs=512 count=1 conv=notrunc status=none
	within 64 1 rescue i.img
	grep -q -- "$3" said
}

# every_verb KIND COUNT MIB SECONDS: all that read a log; those that end it get one of their own.
every_verb() {
	local verb
	forge "$1" "$2"
	for verb in status log map verify diff "diff --files" "export --undo -o undo.tar" \
		"export --redo -o redo.tar"; do
		# shellcheck disable=SC2086 # words
		within "$3" "$4" $verb i.img
	done
	rm -f undo.tar redo.tar
	within "$3" "$4" rollback -q i.img
	forge "$1" "$2"
	within "$3" "$4" commit -q i.img
	forge "$1" "$2"
	dd if=/dev/zero of=i.img bs=512 count=1 conv=notrunc status=none
	within "$3" "$4" rescue --write i.img
}

@test "copies that share a destination do not fill the host's disk" {
	refused_by_all shared 20000 'two things are put at block'
}

@test "copies from hole to hole are neither read nor restored" {
	# What a power cut may have taken of the newest record is looked at by all: 1 GiB at most.
	forge holes 1000
	within 64 4 status i.img
	for verb in verify rollback "export --undo -o undo.tar" "export --redo -o redo.tar"; do
		# shellcheck disable=SC2086 # words
		within 64 4 $verb i.img
		grep -q 'is all zeros: bowimg copies no such block' said
	done
	within 64 4 commit i.img
}

@test "zeros where the file is a hole leave a hole" {
	every_verb zeros 30000 64 1
	forge zero-all 200000000
	within 64 1 export --redo -o redo.tar i.img
	within 64 1 rollback -q i.img
}

@test "pieces of the free map that name one leaf again and again are refused at the second" {
	refused_by_all leaf-bits 100000 'two things are put at block'
}

@test "wide pending zeros cost no more than narrow ones" {
	every_verb pending-wide 30000 64 1
}

@test "an entry in each leaf of the map costs about as much memory as it takes in the log" {
	for kind in pending-leaf take-leaf copy-leaf; do
		forge $kind 100000
		within 64 1 status i.img
		within 64 1 diff i.img
		within 64 1 rollback -q i.img
	done
	every_verb move-leaf 100000 64 2
}

@test "backups that moved in many pieces move on as one" {
	forge shuffle 60000
	within 64 2 rollback -q i.img
}

@test "segments that overlap are refused at the second" {
	refused_by_all segments 500 'two things are put at block'
}

@test "what only begins like a record is not hashed again and again" {
	forge tail-records 1
	for verb in status verify rollback; do
		within 64 1 $verb i.img
		grep -q 'is damaged, and later ones follow it' said
	done
	dd if=/dev/zero of=i.img bs=512 count=1 conv=notrunc status=none
	within 64 1 rescue i.img
}

@test "free space that was all taken, and is a hole, is not read" {
	every_verb take-all 1 64 1
}

@test "what is taken and given back again and again costs as much as anything else in a log" {
	FORGE=forge_marks
	forge give-take 1000000
	for verb in status diff rollback; do
		within 64 4 $verb i.img
	done
	every_verb give-wide 10000 64 3
}

@test "copies that share a destination do not fill the host's disk, though it is given back between" {
	FORGE=forge_marks
	refused_by_all give-shared 20000 'two things are put at block'
}

@test "of too many marks no more are read than there may be" {
	FORGE=forge_marks
	forge marks 256
	within 64 1 status i.img
	grep -q 'the log has too many marks' said
	refused_by_all marks 70000 'the log has too many marks'
	every_verb marks 255 64 1
	forge unmarks 1000000
	within 64 1 status i.img
	within 64 1 rollback -q i.img
}

@test "places that are told again and again are refused at the second" {
	FORGE=forge_marks
	refused_by_all places 70000 'two things are put at block'
}

@test "what moved in many pieces moves on as one with each return to a mark" {
	FORGE=forge_marks
	forge places-deep 10000
	for verb in status verify diff "diff --from=m3" "rollback -n --to=m3" "rollback -q"; do
		# shellcheck disable=SC2086 # words
		within 64 3 $verb i.img
	done
}

@test "many epochs that saved the same blocks are asked once for each" {
	FORGE=forge_marks
	every_verb epochs 20000 64 2
	forge epochs 100000
	for verb in "mark --list" "diff --from=m200" "rollback -n --to=m3" "rollback -q --to=m3"; do
		# shellcheck disable=SC2086 # words
		within 64 2 $verb i.img
	done
}

@test "a list of what is left to zero ends, and names each block once" {
	forge finish-loop 1
	within 64 1 status i.img
	within 64 1 rollback -q i.img
	grep -q 'the plan has block [0-9]* twice' said
	forge finish-wide 2000
	within 64 1 rollback -q i.img
	grep -q 'the ranges to zero do not ascend' said
}

@test "prepare and a diff of files of an untouched large image take no memory for its blocks" {
	truncate -s 8T i.img
	mke2fs -q -t ext4 -O ^has_journal i.img
	"$COST" 40 2 "$BOWIMG" prepare -q i.img # a bit for each block: 256 MiB
	within 40 1 diff --files i.img
	[ "$status" -eq 0 ]
}

# Most disk file systems end at 16 TiB a file; memory does not.
@test "a directory with as many names as fit costs no more than a few times its volume" {
	requires python3 fuse
	truncate -s 32M i.img
	mke2fs -q -t ext4 -b 4096 -O ^metadata_csum,^has_journal i.img
	echo x >file
	printf '%s\n' "mkdir dir" "write file file" >script
	debugfs -w -f script i.img
	expect 0 prepare -q i.img
	expect 0 run -q --via=fuse --on-success=keep i.img -- \
		python3 "$ROOT_DIR/tests/lib/many_names.py" {} 12 13 500
	[ "$("$BOWIMG" diff --files i.img | grep -c '^added ')" -eq 170500 ]
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep i.img -- \
		python3 "$ROOT_DIR/tests/lib/many_names.py" {} 12 13 7000
	for verb in "diff --files" "diff --files --json" "diff --tar=layer.tar"; do
		# shellcheck disable=SC2086 # words
		within 192 10 $verb i.img
		grep -q 'i.img: compare files: the directories hold more names' said
	done
	[ ! -e layer.tar ]
	expect 0 rollback -q i.img
}

# deep SIZE: i.img of this size, sparse, prepared, with directories 250 deep whose names are as long as
# can be. In the last one 20460 names are added: the paths of all are 64 KB long each.
deep() {
	local name level
	name=$(printf 'd%.0s' {1..255})
	rm -f i.img
	truncate -s "$1" i.img
	mke2fs -q -t ext4 -b 4096 -N 16384 -O ^metadata_csum,^has_journal i.img
	echo x >file
	{
		echo "write file file"
		for ((level = 0; level < 250; level++)); do
			echo "mkdir $name"
			echo "cd $name"
		done
	} >script
	debugfs -w -f script i.img >/dev/null 2>&1
	# Inode 12 is the file, 13 to 262 are the directories.
	expect 0 prepare -q --free-from=ext i.img
	expect 0 run -q --via=fuse --on-success=keep i.img -- \
		python3 "$ROOT_DIR/tests/lib/many_names.py" {} 262 12 60
}

@test "paths that are deep and many are refused as soon as all together are too long" {
	requires python3 fuse
	deep 32M
	for verb in "diff --files" "diff --tar=layer.tar"; do
		# shellcheck disable=SC2086 # words
		within 192 10 $verb i.img
		[ "$status" -eq 6 ]
		grep -q 'i.img: compare files: the directories hold more names' said
	done
	# A volume that says it is large may keep more, but no more than 1 GiB.
	deep 2G
	within 1200 20 diff --files i.img
	[ "$status" -eq 6 ]
	[ "$(grep -c '^bowimg: ' said)" -eq 1 ]
	grep -q 'i.img: compare files: .* its changed paths are longer than 1 GiB in total' said
	[ ! -e layer.tar ]
	expect 0 rollback -q i.img
}

@test "an image of 1 PiB is handled like any other, a larger one is refused in words" {
	BIG=/dev/shm/${T##*/}
	truncate -s 1P "$BIG" || skip "no file of 1 PiB here"
	"$COST" 64 2 "$BOWIMG" prepare -q --free-from=none "$BIG"
	"$COST" 64 2 "$BOWIMG" verify -q "$BIG"
	"$COST" 64 2 "$BOWIMG" rollback -q "$BIG"
	truncate -s 1025T "$BIG"
	refused 9 'too large: .* the most is 1125899906842624 \(1 PiB\)' prepare "$BIG"
	truncate -s 2049T "$BIG"
	refused 9 'is more than an image and its tail can be' status "$BIG"
}

@test "an NBD server that lists contexts without end is left, in little memory" {
	requires python3
	python3 "$ROOT_DIR/tests/lib/talkative_nbd.py" "$T/socket" 3>&- &
	for _ in {1..50}; do
		[ -S socket ] && break
		sleep 0.1
	done
	status=0
	"$COST" 64 2 "$BOWIMG" status "nbd+unix:///?socket=$T/socket" 2>said || status=$?
	cat said
	[ "$status" -eq 1 ]
	grep -q 'sends without end' said
}
