#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# export and apply: options, refusals, archives that are not what they seem. Real changes are in e2e.

load ../../lib/common

# A prepared image, and a patch of no runs for it.
setup() {
	common_setup
	make_ext4 disk.img 16M
	cp --sparse=always disk.img plain.img
	expect 0 prepare disk.img
}

# archive NAME CONTENT...: the members of a patch, as a tar.
archive() {
	mkdir -p members
	(cd members && rm -f ./* && while [ $# -gt 0 ]; do
		printf '%s' "$2" >"$1"
		echo "$1"
		shift 2
	done | tar cf - -T -)
}

HEAD='{"format":"bowimg-patch","version":1,"compat":[],"incompat":[],"direction":"redo",'
HEAD+='"image-size":16777216,"block-size":4096,"exact":true,'
HEAD+='"checkpoint":"01234567-89ab-4cde-8f01-23456789abcd"}'

@test "nothing was changed: a patch without runs, which is applied already" {
	expect 0 export --undo -o undo.tar.zst disk.img
	[ -z "$output" ]
	grep -q '0 bytes in 0 runs' <<<"$stderr"
	expect 0 apply undo.tar.zst plain.img
	grep -q 'already applied' <<<"$output"
	expect 0 export -q --redo -o redo.tar disk.img
	[ -z "$output$stderr" ]
	expect 0 apply -q redo.tar plain.img
	[ -z "$output$stderr" ]
}

@test "usage errors of export and apply: exit 2" {
	refused 2 "either --undo or --redo" export -o x.tar disk.img
	refused 2 "either --undo or --redo" export --undo --redo -o x.tar disk.img
	refused 2 "missing option: -o FILE" export --undo disk.img
	refused 2 "unknown suffix of 'x'" export --undo -o x disk.img
	refused 2 "unknown suffix of '.tar'" export --undo -o .tar disk.img
	refused 2 "unknown value 'lzma' for --compress" export --undo -o x.tar --compress=lzma disk.img
	refused 2 "unknown value 'xz' for --compress" export --undo -o x.tar --compress=xz disk.img
	refused 2 "unknown suffix of 'x.tar.xz'" export --undo -o x.tar.xz disk.img
	refused 2 "missing argument; expected: IMAGE" export --undo -o x.tar
	refused 2 "missing argument; expected: FILE IMAGE" apply x.tar
	[ ! -e x.tar ]
}

@test "the patch never takes the image's place" {
	before=$(sum disk.img)
	refused 1 "is the image itself" export --undo --compress=none -o disk.img disk.img
	ln -s disk.img link.tar
	refused 1 "is the image itself" export --undo -o link.tar disk.img
	refused 1 "a directory, not a file that can be replaced" export --undo --compress=none -o . disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "an old file is replaced when the new one is complete, and through a symbolic link" {
	echo old >old.tar
	ln -s old.tar link.tar
	expect 0 export --undo -o link.tar disk.img
	[ -L link.tar ]
	[ "$(tar tf old.tar | head -n 1)" = manifest.json ]
	umask 027
	rm old.tar
	expect 0 export --undo -o old.tar disk.img
	[ "$(stat -c %a old.tar)" = 640 ]
	[ "$(ls old.tar*)" = old.tar ]
}

@test "export without a checkpoint: exit 3; apply with one: exit 3" {
	expect 0 export --undo -o undo.tar disk.img
	refused 3 "no checkpoint" export --undo -o x.tar plain.img
	[ ! -e x.tar ]
	before=$(sum disk.img)
	refused 3 "open already" apply undo.tar disk.img
	grep -q "'bowimg rollback' undoes" <<<"$stderr"
	[ "$(sum disk.img)" = "$before" ]
}

@test "a damaged backup is not exported, exit 6" {
	dest=$("$BOWIMG" log --json disk.img | json '.[-1].dest')
	printf 'XXXX' | dd of=disk.img bs=1 seek=$((dest * 4096 + 100)) conv=notrunc status=none
	refused 6 "backup of block 0" export --undo -o x.tar --force=changed disk.img
	[ ! -e x.tar ]
}

@test "what is no patch, or needs a newer program: exit 9" {
	head -c 100000 /dev/urandom >noise
	: >empty
	cp --sparse=always plain.img image
	for file in noise empty image; do
		refused 9 "no patch" apply "$file" plain.img
	done
	archive other.json "$HEAD" >x.tar
	refused 9 "no patch" apply x.tar plain.img
	archive manifest.json "${HEAD/\"version\":1/\"version\":2}" >x.tar
	refused 9 "version 2" apply x.tar plain.img
	archive manifest.json "${HEAD/\"incompat\":[]/\"incompat\":[\"holes\"]}" >x.tar
	refused 9 "feature 'holes'" apply x.tar plain.img
	refused 1 "no such file" apply missing.tar plain.img
	refused 1 "directory" apply . plain.img
}

@test "a patch compressed by xz is refused, and applied once it is decompressed" {
	requires xz
	before=$(sum plain.img)
	expect 0 export --redo -o redo.tar disk.img
	xz -k redo.tar
	refused 9 "redo.tar.xz: it is compressed by xz" apply redo.tar.xz plain.img
	grep -q "'xz -d'" <<<"$stderr"
	[ "$(sum plain.img)" = "$before" ]
	rm redo.tar
	xz -d redo.tar.xz
	expect 0 apply redo.tar plain.img
}

@test "what is damaged, cut off or wrong in a patch: exit 6, and the image is not touched" {
	local runs='{"runs":[{"offset":16777216,"length":4096,"before":null,"after":"0000000000000000"}]}'
	before=$(sum plain.img)
	expect 0 export --redo -o redo.tar disk.img
	for bytes in 600 1024 1500; do
		head -c "$bytes" redo.tar >x.tar
		refused 6 "cut off|damaged|truncated" apply x.tar plain.img
	done
	{
		cat redo.tar
		echo more
	} >x.tar
	refused 6 "behind its end" apply x.tar plain.img
	archive manifest.json "$HEAD" 00000000.json "$runs" >x.tar
	refused 6 "beyond the image" apply x.tar plain.img
	archive manifest.json "$HEAD" 00000000.json '[[[[' >x.tar
	refused 6 "malformed JSON" apply x.tar plain.img
	archive manifest.json "$HEAD" evil x >x.tar
	refused 6 "'evil' in place of" apply x.tar plain.img
	archive manifest.json "$HEAD" end.json '{"runs":0,"run-bytes":0,"data-bytes":0,"hash":"0000000000000000"}' >x.tar
	refused 6 "checksum of the whole" apply - plain.img <x.tar
	[ "$(sum plain.img)" = "$before" ]
}

@test "a bomb is refused in little memory and time" {
	archive manifest.json "$HEAD" >x.tar
	{
		cat x.tar
		head -c 200M /dev/zero
	} | gzip -1 >bomb.tar.gz
	(
		# A sanitizer takes terabytes of address space for itself.
		[ "${BOWIMG_TEST_SANITIZED:-0}" = 1 ] || ulimit -v 400000
		refused 6 "more data than a patch|cut off" apply bomb.tar.gz plain.img
	)
}
