# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For the tests that execute the examples of the manual, after common and e2e:   load ../lib/examples
#
# An example is in the file script when it is executed. What was executed is kept, for all_executed.

# examples_setup: bowimg and programs in $T/bin are found first.
examples_setup() {
	mkdir bin own
	ln -s "$BOWIMG" bin/bowimg
	export PATH=$T/bin:$PATH
}

# executed: the file script counts as executed; prints it, for a test that fails.
executed() {
	[ -s script ] || return 1
	cat script
	cat script >>"$BATS_FILE_TMPDIR/done"
}

# typed: run the file script as it would be typed, or as the program that it is, with mount points, names
# and ports of its own. What it prints is in the file out. It may take $TYPED_LIMIT seconds (120).
typed() {
	printf '127.0.0.1 localhost storage\n' >hosts
	within "${TYPED_LIMIT:-120}" unshare -m -n bash -ex -c '
		mount --bind own /mnt
		if [ -e /etc/hosts ]; then
			mount --bind hosts /etc/hosts
		else
			cp -a /etc etc && cp hosts etc/hosts && mount --bind etc /etc
		fi
		[ ! -d plugins ] || mount --bind plugins "$(nbdkit --dump-config | sed -n s/^plugindir=//p)"
		ip link set lo up
		case $(head -n 1 script) in "#!"*) chmod +x script && exec ./script ;; esac
		. ./script' >out 2>&1 </dev/null
}

# pasted: executed and typed; it must succeed.
pasted() {
	executed || return 1
	typed || {
		cat out
		return 1
	}
}

# joined: continued lines become one; comments and empty lines go.
joined() {
	sed -e ':again' -e '/[\\|]$/{N; s/\\\{0,1\}\n */ /; t again' -e '}' |
		sed 's/ *#.*//; s/  */ /g; s/^ //; s/ *$//; /^$/d'
}

# all_executed: every line of the file all, which are joined, was executed.
all_executed() {
	local line
	joined <"$BATS_FILE_TMPDIR/done" >executed
	while read -r line; do
		line=$line awk 'index($0, ENVIRON["line"]) == 1 { found = 1 } END { exit !found }' executed ||
			echo "not executed: $line"
	done <all >missing
	cat missing
	[ ! -s missing ]
}
