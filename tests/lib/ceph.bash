# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# A Ceph of one machine for the tests of disks in a cluster, after common, front and e2e:
#   load ../lib/ceph
#
# One monitor and one OSD, on a file, which survives that it is killed; without cephx, systemd and
# anything in /etc/ceph. It lives from setup_file to teardown_file, in $CEPH_DIR; its processes end by
# their numbers. A disk is an image of rbd behind qemu-nbd: $uri.

CEPH_TOOLS=(root loop fuse jq python3 ceph-mon ceph-osd ceph monmaptool rbd qemu-nbd nbdcopy sfdisk)

# Without the programs it does nothing: each test says so for itself, in ceph_disk.
ceph_setup_file() {
	local tool
	for tool in "${CEPH_TOOLS[@]}" "$(ceph_driver)"; do
		have "$tool" || return 0
	done
	CEPH_DIR=$(mktemp -d "${BOWIMG_TEST_DIR:-/var/tmp}/bowimg-ceph.XXXXXX")
	export CEPH_DIR CEPH_CONF=$CEPH_DIR/ceph.conf
	ceph_start_mon && ceph_start_first_osd && ceph_make_pool
}

ceph_teardown_file() {
	local name
	[ -n "${CEPH_DIR:-}" ] || return 0
	for name in osd mon; do
		[ ! -s "$CEPH_DIR/$name.pid" ] || ceph_kill "$name"
	done
	rm -rf --one-file-system "$CEPH_DIR"
}

# QEMU's driver is a package of its own. Prints what requires() can ask for.
ceph_driver() {
	if [ -n "$(find /usr/lib/*/qemu /usr/lib/qemu -name block-rbd.so 2>/dev/null)" ]; then
		echo qemu-nbd
	else
		echo qemu-block-extra
	fi
}

# ceph_until COMMAND...: up to a minute, since a slow machine may take that.
ceph_until() {
	local end=$((SECONDS + 60))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -le "$end" ] || {
			echo "in vain: $*"
			tail -n 5 "$CEPH_DIR"/*.out
			return 1
		}
		sleep 0.2
	done
}

# ---- the cluster --------------------------------------------------------------------------------

# ceph_conf PORT
ceph_conf() {
	mkdir -p "$CEPH_DIR"/{mon,osd,run,log,crash}
	: >"$CEPH_DIR/keyring"
	cat >"$CEPH_CONF" <<-EOF
		[global]
		fsid = $(</proc/sys/kernel/random/uuid)
		mon host = [v2:127.0.0.1:$1/0]
		mon initial members = a
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		auth cluster required = none
		auth service required = none
		auth client required = none
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		osd crush update on start = true
		mon allow pool size one = true
		mon data avail crit = 1
		mon data avail warn = 2
		osd objectstore = bluestore
		bluestore block size = 2147483648
		bluestore block db create = false
		bluestore block wal create = false
		osd memory target = 939524096
		run dir = $CEPH_DIR/run
		admin socket = $CEPH_DIR/run/\$name.\$pid.asok
		log file = $CEPH_DIR/log/\$name.log
		crash dir = $CEPH_DIR/crash
		keyring = $CEPH_DIR/keyring
		mon data = $CEPH_DIR/mon
		osd data = $CEPH_DIR/osd
	EOF
}

# ceph_daemon NAME COMMAND...: in $CEPH_DIR/NAME.pid its number. It belongs to no single test.
ceph_daemon() {
	local name=$1
	shift
	env -u BOWIMG_TEST_ID "$@" >>"$CEPH_DIR/$name.out" 2>&1 3>&- 4>&- </dev/null &
	echo $! >"$CEPH_DIR/$name.pid"
	disown
}

ceph_kill() {
	local pid
	pid=$(<"$CEPH_DIR/$1.pid")
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$CEPH_DIR/$1.pid"
	ceph_until is_gone "$pid"
}

ceph_asks() {
	timeout 20 ceph --connect-timeout 15 "$@"
}

# On a port that nobody else has.
ceph_start_mon() {
	local port
	for _ in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 10000))
		rm -rf "$CEPH_DIR"/mon
		ceph_conf "$port"
		monmaptool --create --clobber --fsid "$(ceph-conf -c "$CEPH_CONF" fsid)" \
			--addv a "[v2:127.0.0.1:$port]" "$CEPH_DIR/monmap" >/dev/null || return 1
		ceph-mon --mkfs -i a --monmap "$CEPH_DIR/monmap" --keyring "$CEPH_DIR/keyring" || return 1
		ceph_daemon mon ceph-mon -i a -f
		ceph_until ceph_mon_answers_or_ended
		! is_gone "$(<"$CEPH_DIR/mon.pid")" && return 0
	done
	cat "$CEPH_DIR/mon.out"
	return 1
}

ceph_mon_answers_or_ended() {
	is_gone "$(<"$CEPH_DIR/mon.pid")" || ceph_asks -s
}

ceph_osd_is_up() {
	ceph_asks osd stat | grep -q '1 up'
}

ceph_start_first_osd() {
	local uuid
	uuid=$(</proc/sys/kernel/random/uuid)
	ceph_asks osd new "$uuid" >/dev/null || return 1
	ceph-osd -i 0 --mkfs --osd-uuid "$uuid" >"$CEPH_DIR/mkfs.out" 2>&1 || {
		cat "$CEPH_DIR/mkfs.out"
		return 1
	}
	ceph_start_osd
}

ceph_start_osd() {
	ceph_daemon osd ceph-osd -i 0 -f
	ceph_until ceph_osd_is_up
}

ceph_make_pool() {
	ceph_asks osd pool create rbd 8 >/dev/null 2>&1 || return 1
	ceph_until ceph_asks osd pool application enable rbd rbd
}

# ---- a disk -------------------------------------------------------------------------------------

# ceph_disk MIB: an image with a GPT, and an ext4 with a tree of files and one file of half its size, at
# $uri; $before is its checksum.
ceph_disk() {
	requires "${CEPH_TOOLS[@]}" "$(ceph_driver)"
	# shellcheck disable=SC2034
	uri="nbd+unix:///?socket=$T/rbd.sock"
	rbd_image=disk$BATS_TEST_NUMBER
	mkdir tree
	make_tree tree
	head -c $(($1 / 2))M /dev/urandom >tree/big
	truncate -s "$1M" origin.img
	printf 'label: gpt\nstart=2048, size=%d\n' $((($1 - 8) * 2048)) | sfdisk -q origin.img
	mkfs.ext4 -q -F -d tree -E offset=1048576 origin.img $((($1 - 8) * 1024))k
	within 60 rbd create --size "$1M" --image-feature layering "rbd/$rbd_image"
	ceph_serve
	within 60 nbdcopy --flush origin.img "$uri"
	before=$(sum origin.img)
	same_disk "$before"
}

ceph_serve() {
	rm -f "$T/rbd.sock"
	qemu-nbd -f raw -k "$T/rbd.sock" --shared=8 --persistent --discard=unmap \
		"rbd:rbd/$rbd_image:conf=$CEPH_CONF" >>"$T/qemu-nbd.out" 2>&1 3>&- </dev/null &
	qemu_nbd=$!
	ceph_until test -S "$T/rbd.sock" || return 1
	within 60 nbdinfo --size "$uri" >/dev/null
}

ceph_stop_serving() {
	kill "-${1:-TERM}" "$qemu_nbd"
	ceph_until is_gone "$qemu_nbd"
	wait "$qemu_nbd" 2>/dev/null || true
}

# ceph_far MILLISECONDS: the same disk at $far, each of whose answers takes so long.
ceph_far() {
	# shellcheck disable=SC2034
	far="nbd+unix:///?socket=$T/far.sock"
	rm -f "$T/far.sock"
	python3 "${BASH_SOURCE[0]%/*}/../tools/nbd_far.py" "$1" "$T/far.sock" "$T/rbd.sock" "$T/far.log" \
		>>"$T/far.out" 2>&1 3>&- </dev/null &
	far_proxy=$!
	ceph_until test -S "$T/far.sock"
}

ceph_far_stop() {
	kill "$far_proxy"
	ceph_until is_gone "$far_proxy"
	wait "$far_proxy" 2>/dev/null || true
}

disk_sum() {
	within 60 nbdcopy "$uri" - | sha256sum | cut -d' ' -f1
}

same_disk() {
	local now
	now=$(disk_sum)
	[ "$1" = "$now" ] || {
		echo "the disk is not what it was"
		return 1
	}
}
