#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# diff: ranges and files, without root. Changes are made by debugfs on a FUSE file.

load ../../lib/common

# change COMMAND...: debugfs commands, through bowimg, kept.
change() {
	requires fuse
	printf '%s\n' "$@" >script
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		debugfs -w -f script {}
}

prepared() {
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
}

@test "an untouched checkpoint has no difference: exit 0" {
	prepared
	expect 0 diff disk.img
	grep -q 'nothing was written' <<<"$output"
	expect 0 diff --files disk.img
	[ -z "$output" ]
	[ "$("$BOWIMG" diff --files --json disk.img)" = '[]' ]
	[ "$("$BOWIMG" diff --json disk.img | json '."changed-bytes", (.ranges | length)' | tr '\n' ' ')" = '0 0 ' ]
}

@test "ranges that were written are listed, and add up: exit 1" {
	prepared
	head -c 300000 /dev/urandom >large
	change "write large new" "rm file3"
	expect 1 diff disk.img
	grep -Eq '^ +[0-9]+ +[0-9]+  free    data  -$' <<<"$output"
	grep -Eq '^ +[0-9]+ +[0-9]+  data    data  -$' <<<"$output"
	grep -q '^total: .* written, .* of it to free space$' <<<"$output"
	expect 1 diff --json disk.img
	[ "$(json '."changed-bytes" == ([.ranges[].bytes] | add)' <<<"$output")" = true ]
	[ "$(json '."was-free-bytes" == ([.ranges[] | select(.before == "free").bytes] | add)' <<<"$output")" = true ]
	[ "$(json '."was-free-bytes" >= 280000 and .partitions[0]."changed-bytes" == ."changed-bytes"' <<<"$output")" = true ]
	[ "$(json '[.ranges[].offset] | . == sort' <<<"$output")" = true ]
}

@test "files that changed are listed, sorted, with what differs" {
	prepared
	echo new >new
	change "write new sub/new" "rm file3" "sif file4 mode 0100600" "mkdir dir" "ln file5 dir/five" \
		"unlink file5"
	expect 1 diff --files disk.img
	[ "$output" = "\
added     /dir/
renamed   /file5 -> /dir/five
deleted   /file3
modified  /file4 (mode)
added     /sub/new" ]
	expect 1 diff --files --json disk.img
	[ "$(json '.[] | .change + " " + .path + " " + (."old-path" // "-") + " " + (.what | join(","))' <<<"$output")" = "\
added /dir - 
renamed /dir/five /file5 
deleted /file3 - 
modified /file4 - mode
added /sub/new - " ]
	[ "$(json '.[3] | .type, ."type-before"' <<<"$output" | tr '\n' ' ')" = 'file file ' ]
}

@test "names with control bytes are escaped, and exact in JSON" {
	prepared
	echo x >plain
	change "write plain sub/plain"
	# debugfs takes no such names; a directory entry of the same length does.
	requires fuse
	cat >rename <<-'EOF'
		set -e
		at=$(grep -abo plain "$1" | head -n 1 | cut -d: -f1)
		printf 'a\033\n\377\\' | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
	EOF
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- sh rename {}
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		sh -c 'e2fsck -fy {}; [ $? -le 1 ]'
	expect 1 diff --files disk.img
	grep -qxF "added     /sub/a\\x1b\\x0a\\xff\\\\" <<<"$output"
	expect 1 diff --files --json disk.img
	[ "$(json '.[] | select(.change == "added") | ."path-hex"' <<<"$output")" = 2f7375622f611b0aff5c ]
}

@test "-q prints nothing, and tells by the exit status" {
	prepared
	expect 0 diff -q disk.img
	change "rm file1"
	expect 1 diff -q disk.img
	[ -z "$output$stderr" ]
	expect 1 diff -q --files disk.img
	[ -z "$output$stderr" ]
}

@test "diff changes nothing, and a rollback still works" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	expect 0 prepare -q disk.img
	change "rm file1"
	now=$(sum disk.img)
	expect 1 diff --files --tar=layer.tar disk.img
	[ "$(sum disk.img)" = "$now" ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "diff without a checkpoint: exit 3" {
	make_ext4 disk.img 16M
	refused 3 "no checkpoint" diff disk.img
}

@test "files of what nobody can mount are not compared: exit 9" {
	truncate -s 4M disk.img
	expect 0 prepare -q --free-from=none disk.img
	refused 9 "as it is now has no file system whose files can be compared" diff --files disk.img
	expect 0 diff disk.img
}

@test "a journal that was not replayed is refused with the way out, which works: exit 6" {
	prepared
	change "rm file1"
	# As a killed guest leaves it.
	change "feature needs_recovery"
	refused 6 "journal .* as it is now was not replayed" diff --files disk.img
	grep -q 'e2fsck -p' <<<"$stderr"
	# Exit status 1 of e2fsck: all repaired.
	bow run -q --on-success=keep --on-failure=keep --via=fuse disk.img -- e2fsck -p {}
	[ "$status" -le 1 ]
	expect 1 diff --files disk.img
	grep -q '^deleted   /file1$' <<<"$output"
}

@test "a damaged backup is told, and not compared: exit 6" {
	prepared
	change "rm file1"
	change "rm file2"
	# The oldest but that of block 0.
	dest=$("$BOWIMG" log --json disk.img | json '[.[] | select(.type == "copy" and .source > 0)][-1].dest')
	printf 'XXXX' | dd of=disk.img bs=1 seek=$((dest * 4096 + 100)) conv=notrunc status=none
	expect 1 diff --force=changed disk.img
	refused 6 'the backup of .* is damaged' diff --files --force=changed disk.img
}

@test "an archive's suffix must be known, and it must not be the image: exit 2" {
	prepared
	for suffix in rar cpio zip; do
		refused 2 "suffix" diff "--tar=layer.$suffix" disk.img
	done
	refused 2 "suffix" diff --tar=.tar disk.img
	mv disk.img disk.tar
	refused 2 "image itself" diff --tar=disk.tar disk.tar
}

@test "an archive that cannot be made leaves what was there" {
	prepared
	change "rm file1"
	refused 1 "No such file" diff --tar=nowhere/layer.tar disk.img
	mkdir layer.tar
	refused 1 "directory" diff --tar=layer.tar disk.img
	[ -z "$(find . -name 'layer.tar.*')" ]
}

@test "every format of archive can be read by others" {
	requires bsdtar zstd
	prepared
	echo new >new
	change "write new sub/new" "rm file3"
	for suffix in tar tar.gz tgz tar.xz tar.zst; do
		expect 1 diff "--tar=layer.$suffix" disk.img
		bsdtar -tf "layer.$suffix" >list
		grep -qx sub/new list
		grep -qx .wh.file3 list
		[ "$(bsdtar -xOf "layer.$suffix" sub/new)" = new ]
	done
	[ "$(stat -c %a layer.tar)" = "$(printf '%o' $((0666 & ~$(umask))))" ]
}

@test "the examples of the manual work as they stand there" {
	requires fuse jq
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	mkdir bin
	ln -s "$BOWIMG" bin/bowimg
	printf '#!/bin/sh\necho one >one\nprintf "mkdir var\\nmkdir var/log\\nwrite one one\\nwrite one var/log/two\\n" |
		debugfs -w -f - "$1"\n' >install.sh
	chmod +x install.sh
	example layer.tar.zst >script
	# Where root has loop devices, run takes them; the example is the same.
	PATH=$PWD/bin:$PATH bash -x <(grep -v rollback script) >out || [ $? -eq 1 ]
	grep -qx 'added     /one' out
	bsdtar -tf layer.tar.zst | grep -qx var/log/two
	example var/log >script
	[ "$(PATH=$PWD/bin:$PATH bash -e script)" = /one ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a disk without partitions has none that could be chosen: exit 9" {
	prepared
	refused 9 "no partition '1'" diff --partition=1 disk.img
}

@test "--summary counts the paths, and names the three biggest files" {
	prepared
	expect 0 diff --files --summary disk.img
	[ "$output" = '0 added, 0 deleted, 0 modified, 0 renamed' ]
	for n in 1 2 3 4; do head -c $((n * 600000)) /dev/urandom >$n; done
	change "write 1 new1" "write 3 new3" "write 2 new2" "write 4 new4" "rm file3" "rm sub/small1"
	expect 1 diff --files disk.img
	added=$(grep -c '^added ' <<<"$output") deleted=$(grep -c '^deleted ' <<<"$output")
	modified=$(grep -c '^modified ' <<<"$output") renamed=$(grep -c '^renamed ' <<<"$output" || true)
	expect 1 diff --files --summary disk.img
	[ "$(head -n 1 <<<"$output")" = "$added added, $deleted deleted, $modified modified, $renamed renamed; \
biggest: /new4 (added, 2.3 MiB), /new3 (added, 1.7 MiB), /new2 (added, 1.1 MiB)" ]
	grep -qE '^[0-9.]+ MiB written on the disk: ' <<<"$output"
	[ "$(wc -l <<<"$output")" -eq 2 ]
	expect 1 diff --files --summary --json disk.img
	[ "$(json '[.added, .deleted, .modified, .renamed, (.biggest | map(.path + " " + (.size | tostring)))] | tojson' \
		<<<"$output")" = "[$added,$deleted,$modified,$renamed,[\"/new4 2400000\",\"/new3 1800000\",\"/new2 1200000\"]]" ]
	total=$("$BOWIMG" diff --json disk.img | json '."changed-bytes"')
	[ "$(json '."changed-bytes"' <<<"$output")" = "$total" ]
	refused 2 'needs --files' diff --summary disk.img
}
