# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The ways to a disk that scripts/bench compares. Each has an image of its own, $T/ROAD.img, with the
# same content. To be sourced.
#
#	road_up ROAD		sets disk[ROAD], which fio_target turns into fio's options
#	road_down ROAD		takes it down; what was changed by bowimg is rolled back
: "${T:?}" "${bowimg:?}" "${build:?}"

# By name: how long what was flushed lasts, if not as long as bowimg's.
declare -A disk server
# shellcheck disable=SC2034 # for who prints
declare -A lasts=([process]="a killed process" [cow]="until the server ends")

# serve ROAD COMMAND...: in the background, its barriers counted.
serve() {
	local road=$1
	shift
	set_counted "$road"
	"${counted[@]}" "$@" &
	server[$road]=$!
}

# A loop device and a mounted FUSE directory may still be busy for a moment.
soon() {
	for _ in {1..100}; do
		"$@" 2>/dev/null && return
		sleep 0.05
	done
	"$@"
}

# How a program for this road is begun.
set_counted() {
	counted=(env "LD_PRELOAD=$build/bench/barriers.so" "BENCH_COUNTS=$T/$1.counts"
		"BENCH_FLUSH_MS=${flush_ms:-0}")
}

answers() {
	nbdinfo --size "nbd+unix:///?socket=$1" >"$T/size" 2>&1
}

await_socket() {
	until answers "$T/$1.sock"; do
		kill -0 "${server[$1]}"
		sleep 0.05
	done
	disk[$1]=$T/$1.sock
}

open_checkpoint() {
	"$bowimg" prepare -q --no-exact --free-from="map:$T/free.map" "$T/$1.img"
}

overlay() {
	qemu-img create -q -f qcow2 -F raw -b "$T/$1.img" "$T/$1.qcow2"
	serve "$1" qemu-nbd --persistent --shared=0 "--cache=$2" --aio=threads -f qcow2 \
		-k "$T/$1.sock" "$T/$1.qcow2"
}

road_up() {
	local road=$1 image=$T/$1.img socket=$T/$1.sock
	rm -f "$socket"
	head -c 16 /dev/zero >"$T/$road.counts"
	case $road in
	bowloop)
		open_checkpoint "$road"
		set_counted "$road"
		disk[$road]=$("${counted[@]}" "$bowimg" attach "$image" 2>"$T/said")
		return
		;;
	fuse)
		serve "$road" "$build/bench/passthrough" "$image" "$T/fuse"
		until [ -e "$T/fuse/disk" ]; do sleep 0.05; done
		disk[$road]=$(losetup --find --show --direct-io=on "$T/fuse/disk")
		return
		;;
	buffered) disk[$road]=$(losetup --find --show "$image") && return ;;
	direct) disk[$road]=$(losetup --find --show --direct-io=on "$image") && return ;;
	bownbd)
		open_checkpoint "$road"
		serve "$road" "$bowimg" serve --socket "$socket" "$image" >"$T/said"
		;;
	process)
		open_checkpoint "$road"
		serve "$road" "$bowimg" serve --durability=process --socket "$socket" "$image" >"$T/said"
		;;
	file) serve "$road" nbdkit -f -U "$socket" file "$image" ;;
	cow) serve "$road" nbdkit -f -U "$socket" --filter=cow file "$image" ;;
	raw) serve "$road" qemu-nbd --persistent --shared=0 --cache=writeback --aio=threads -f raw \
		-k "$socket" "$image" ;;
	qcow2) overlay "$road" writeback ;;
	none) overlay "$road" none ;;
	esac
	await_socket "$road"
}

road_down() {
	local road=$1 device=${disk[$1]:-}
	case $road in
	bowloop) "$bowimg" detach "$T/$road.img" ;;
	fuse)
		[ -z "$device" ] || losetup -d "$device"
		! mountpoint -q "$T/fuse" || soon umount "$T/fuse"
		wait "${server[$road]}" || true
		;;
	buffered | direct) losetup -d "$device" ;;
	*)
		kill "${server[$road]}" 2>/dev/null || true
		wait "${server[$road]}" || true
		;;
	esac
	unset "server[$road]" "disk[$road]"
	rm -f "$T/$road.qcow2"
	case $road in bowloop | bownbd | process) "$bowimg" rollback -q "$T/$road.img" ;; esac
}

# Options of fio for the disk of a road.
fio_target() {
	case ${disk[$1]} in
	/dev/*) echo "--filename=${disk[$1]} --ioengine=libaio --direct=1" ;;
	*) echo "--ioengine=nbd --uri=nbd+unix:///?socket=${disk[$1]}" ;;
	esac
}

# BARRIERS BYTES so far; nothing of what only the kernel serves.
counts_of() {
	case $1 in
	buffered | direct) ;;
	*) od -An -v -t u8 -N 16 "$T/$1.counts" ;;
	esac
}
