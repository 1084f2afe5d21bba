#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is in use on this machine, and the end of all of it.
#
# Alone: new mount namespaces, which keep what others unmount; in each the runtime directory is empty,
# since --all means everything.

load ../../lib/common
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse jq unshare
	for name in a b c; do
		make_ext4 $name.img 16M
		"$BOWIMG" prepare -q $name.img
	done
	mkdir mnt old fuse
}

# apart: the commands on standard input, in a world of their own; a failure of one fails the test.
apart() {
	{
		echo 'set -e; mkdir -p /run/bowimg; mount -t tmpfs -o mode=700 none /run/bowimg'
		echo 'list() { "$BOWIMG" list --json | jq -c "sort_by(.image) | map($1)"; }'
		echo 'is() { [ "$1" = "$2" ] || { echo "$1 is not $2"; exit 1; }; }'
		cat
	} >script
	BOWIMG=$BOWIMG run unshare -m bash -x script
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "list names each image, where it is, since when and by which process; status does, too" {
	apart <<-'EOF'
		is "$("$BOWIMG" list 2>said)" ""
		grep -q 'nothing is attached' said
		is "$("$BOWIMG" list --json)" '[]'
		"$BOWIMG" mount a.img mnt
		"$BOWIMG" mount --before a.img old
		"$BOWIMG" attach --fuse fuse b.img
		loop=$("$BOWIMG" attach c.img)
		is "$(list '[.image, .how, .where, ."before-where", .before, .alive]')" \
			"[[\"$T/a.img\",\"mount\",\"$T/mnt\",\"$T/old\",false,true],\
		[\"$T/b.img\",\"fuse\",\"$T/fuse/disk\",null,false,true],\
		[\"$T/c.img\",\"loop\",\"$loop\",null,false,true]]"
		for pid in $("$BOWIMG" list --json | jq .[].pid); do is "$(cat /proc/$pid/comm)" bowimg; done
		is "$(list "(now - .since) | . > -2 and . < 60")" '[true,true,true]'
		"$BOWIMG" list >lines
		is "$(wc -l <lines)" 3
		grep -qE "^$T/a.img: mounted at $T/mnt, as it was at $T/old \(process [0-9]+\), for [0-9]+ s$" lines
		grep -qE "^$T/c.img: attached as $loop \(process [0-9]+\), for [0-9]+ s$" lines
		"$BOWIMG" status a.img >said
		grep -qE "^a.img: checkpoint open .*, mounted at $T/mnt, as it was at $T/old \(process [0-9]+\)$" said
		grep -q "^next: bowimg umount $T/old, then bowimg umount $T/mnt, then bowimg rollback a.img" said
		ln a.img other-name
		is "$("$BOWIMG" status --json other-name | jq -c '[.where, .pid]')" \
			"$("$BOWIMG" list --json | jq -c '.[] | select(.how == "mount") | [.where, .pid]')"
		"$BOWIMG" umount --all
		"$BOWIMG" detach --all
	EOF
	nothing_left
}

@test "umount --all ends what is mounted, detach --all what is attached, and again is no failure" {
	apart <<-'EOF'
		"$BOWIMG" mount a.img mnt
		"$BOWIMG" attach --fuse fuse b.img
		"$BOWIMG" attach c.img
		"$BOWIMG" mount --before c.img old
		"$BOWIMG" umount --all
		is "$(list '[.image, ."before-where"]')" "[[\"$T/b.img\",null],[\"$T/c.img\",null]]"
		"$BOWIMG" mount --before c.img old
		"$BOWIMG" detach -a
		is "$(list .)" '[]'
		"$BOWIMG" detach --all
		"$BOWIMG" umount --all
		status=0
		"$BOWIMG" umount a.img 2>said || status=$?
		is $status 3
		status=0
		"$BOWIMG" detach b.img 2>said || status=$?
		is $status 3
		for image in a b c; do "$BOWIMG" rollback -q $image.img; done
	EOF
	nothing_left
}

@test "--all goes on behind one that is in use, which is the failure" {
	apart <<-'EOF'
		mkdir other
		"$BOWIMG" mount a.img mnt
		"$BOWIMG" mount b.img other
		exec 7>mnt/open
		status=0
		"$BOWIMG" umount --all 2>said || status=$?
		is $status 4
		grep -q "$T/mnt" said
		is "$(list .image)" "[\"$T/a.img\"]"
		exec 7>&-
		"$BOWIMG" umount --all
	EOF
	nothing_left
}

@test "--all leaves to run what run serves, and clears up after a killed process" {
	apart <<-'EOF'
		"$BOWIMG" run -q --via=loop a.img -- sh -ec '"$BOWIMG" umount --all; "$BOWIMG" detach --all; [ -b {} ]'
		"$BOWIMG" mount b.img mnt
		kill -9 $("$BOWIMG" list --json | jq .[].pid)
		until [ "$(list .alive)" = '[false]' ]; do sleep 0.05; done
		"$BOWIMG" list | grep -q 'was killed'
		is "$("$BOWIMG" status --json b.img | jq -c '[.pid, .where]')" '[null,null]'
		"$BOWIMG" umount --all
		is "$(list .)" '[]'
	EOF
	nothing_left
}

@test "what is served over NBD is listed with its URI, until its process ends or is killed" {
	requires nbdkit nbdinfo
	apart <<-'EOF'
		"$BOWIMG" run -q --via=nbd a.img -- sh -ec '"$BOWIMG" list --json >run.json; echo $PPID $BOWIMG_URI >uri'
		is "$(jq -c '.[] | [.image, .how, (.pid | tostring) + " " + .where]' run.json)" \
			"[\"$T/a.img\",\"nbd\",\"$(cat uri)\"]"
		is "$(list .)" '[]'
		"$BOWIMG" serve --socket s b.img >said &
		server=$!
		until [ -s said ]; do sleep 0.05; done
		is "$(list '[.image, .pid, .where]')" "[[\"$T/b.img\",$server,\"$(cat said)\"]]"
		"$BOWIMG" status b.img >told
		grep -q "served at nbd+unix:.* (process $server)$" told
		grep -q "^next: kill $server, then bowimg rollback b.img" told
		kill -9 $server
		wait $server || true
		is "$(list .)" '[]'
		# The note of the killed one goes when the next begins, and that of the next with its end.
		"$BOWIMG" serve --socket t c.img >later &
		server=$!
		until [ -s later ]; do sleep 0.05; done
		is "$(echo /run/bowimg/nbd-*.json)" "/run/bowimg/nbd-$server.json"
		kill $server
		wait $server
		is "$(ls -A /run/bowimg)" ''
	EOF
}

@test "list makes no runtime directory, and refuses one that others can write to" {
	apart <<-'EOF'
		umount /run/bowimg
		mount -t tmpfs none /run
		is "$("$BOWIMG" list --json)" '[]'
		[ ! -e /run/bowimg ]
		mkdir -m 777 /run/bowimg
		status=0
		"$BOWIMG" list 2>said || status=$?
		is $status 1
		grep -q 'others may write' said
		"$BOWIMG" status --json a.img | jq -e '.where == null'
	EOF
}

@test "who only looks sends no command away, who works does" {
	apart <<-'EOF'
		"$BOWIMG" attach --fuse fuse a.img
		lock=$(dirname "$(grep -l a.img /run/bowimg/*/state.json)")/lock
		# As list does it, only longer.
		flock -s "$lock" sleep 0.12 &
		sleep 0.03
		"$BOWIMG" detach a.img
		wait
		"$BOWIMG" attach --fuse fuse a.img
		lock=$(dirname "$(grep -l a.img /run/bowimg/*/state.json)")/lock
		flock "$lock" sleep 2 &
		sleep 0.2
		status=0
		"$BOWIMG" detach a.img 2>said || status=$?
		is "$status" 4
		grep -q 'another bowimg command is working on it' said
		wait
		"$BOWIMG" detach a.img
	EOF
}

@test "--all ends what shows a disk as it was, too, beside the disk or alone" {
	apart <<-'EOF'
		"$BOWIMG" mark a.img here
		"$BOWIMG" mount a.img mnt
		was=$("$BOWIMG" attach --before=here a.img)
		"$BOWIMG" detach --all
		[ ! -e "/sys/block/${was##*/}/loop" ]
		mountpoint -q mnt
		"$BOWIMG" attach --before a.img
		"$BOWIMG" umount --all
		is "$("$BOWIMG" list --json)" '[]'
		"$BOWIMG" attach --before=here a.img
		"$BOWIMG" mount a.img mnt
		"$BOWIMG" umount --all
		is "$("$BOWIMG" list --json)" '[]'
		device=$("$BOWIMG" attach a.img)
		"$BOWIMG" mount --before=here a.img old
		"$BOWIMG" umount --all
		[ -e "/sys/block/${device##*/}/loop" ]
		is "$(grep -c " $T/old " /proc/self/mounts)" 0
		"$BOWIMG" detach --all
		is "$("$BOWIMG" list --json)" '[]'
	EOF
}
