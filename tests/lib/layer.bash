# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What diff --files and --tar say, held against two trees:   load ../lib/layer
#
# The image is disk.img, mounted at mnt, and "before" is a copy of that tree as it was at prepare.

# A tree of some directories and files in DIR, which is there.
fill() {
	local dir i
	mkdir "$1"/{a,b,c}{,/x,/y}
	for dir in a b c a/x a/y b/x b/y c/x c/y; do
		for i in 1 2 3 4; do head -c $((RANDOM * i / 7)) /dev/urandom >"$1/$dir/f$i"; done
	done
}

# Everything that a tree is, as text. Directories have no sizes and link counts of their own.
manifest() (
	cd "$1" || exit
	find . -path ./lost+found -prune -o -printf '%P|%y|%m|%U|%G|%l|%n|%T@|%s\n' |
		awk -F'|' 'BEGIN { OFS = "|" } $2 == "d" { $7 = "" } $2 != "f" { $9 = "" } { print }' | sort
	find . -type f -print0 | sort -z | xargs -0r sha256sum
	find . -type b -o -type c | sort | xargs -r stat -c '%n %t,%T'
	getfattr -hRd -m - . | sort
	getfacl -Rn . 2>/dev/null
)

# unpack LAYER DIR: as a container engine does: what is hidden goes first.
unpack() {
	local marker dir name
	bsdtar -tf "$1" | grep -E '(^|/)\.wh\.' >markers || true
	while read -r marker; do
		dir=$2/$(dirname "$marker") name=$(basename "$marker")
		case $name in
		.wh..wh..opq) find "$dir" -mindepth 1 -delete ;;
		*) rm -r "${dir:?}/${name#.wh.}" ;;
		esac
	done <markers
	tar --xattrs --xattrs-include='*' --acls --numeric-owner --exclude='.wh.*' -xpf "$1" -C "$2"
}

# A path in mnt of this type, or of any; mnt where there is none, as after everything was deleted.
pick() {
	find mnt -mindepth 1 -path mnt/lost+found -prune -o "$@" -print | sort |
		awk -v r="$RANDOM" '{ all[NR] = $0 } END { print NR ? all[r % NR + 1] : "mnt" }'
}

# KEEP_NAMES: nothing is renamed, not even by a new name and the end of the old one.
change_once() {
	local from to file
	from=$(pick -mindepth 1) to=$(pick -type d)/n$RANDOM file=$(pick -type f)
	[ "$file" != mnt ] || file=$to
	case $((RANDOM % 16)) in
	0) head -c $((RANDOM * 3)) /dev/urandom >"$to" ;;
	1) mkdir "$to" ;;
	2 | 3) [ "$from" = mnt ] || rm -rf "$from" ;;
	4 | 5) [ -n "${KEEP_NAMES:-}" ] || mv "$from" "$to" 2>/dev/null || true ;;
	6) [ -n "${KEEP_NAMES:-}" ] || ln "$file" "$to" 2>/dev/null || true ;;
	7) ln -s "to/$RANDOM" "$to" ;;
	8) chmod $((RANDOM % 8))$((RANDOM % 8))5 "$(pick ! -type l)" ;;
	9) chown -h $((RANDOM % 9)):70000 "$from" ;;
	10) printf z | dd of="$file" bs=1 seek=$((RANDOM / 5)) conv=notrunc status=none ;;
	11) setfattr -n "user.n$((RANDOM % 3))" -v "v$RANDOM" "$(pick -type f -o -type d)" ;;
	12) setfacl -m "u:$RANDOM:rx" "$(pick -type d)" ;;
	13) truncate -s $((RANDOM * 9)) "$to" && printf end >>"$to" ;;
	14) mknod "$to" c $((RANDOM % 200)) $((RANDOM % 1000)) ;;
	15) [ "$from" = mnt ] || { rm -rf "$from" && head -c 99 /dev/urandom >"$from"; } ;;
	esac
}

# The old paths, changed as the list says: renamed first, then deleted and added.
paths_by_list() {
	jq -r 'sort_by(.change == "deleted" | not) | .[] | .change + "\t" + .path + "\t" + (."old-path" // "")' \
		list.json >list
	(cd before && find . -path ./lost+found -prune -o -mindepth 1 -printf '/%P\n') |
		awk -F'\t' '
		NR == FNR { n++; change[n] = $1; path[n] = $2; old[n] = $3; next }
		{ have[$1] = 1 }
		END {
			for (i = 1; i <= n; i++) if (change[i] == "deleted") delete have[path[i]]
			# Renamed at once: names may be swapped. The deepest old name counts.
			for (p in have) {
				best = 0
				for (i = 1; i <= n; i++)
					if (change[i] == "renamed" && (p == old[i] || index(p, old[i] "/") == 1) &&
					    (!best || length(old[i]) > length(old[best]))) best = i
				now[best ? path[best] substr(p, length(old[best]) + 1) : p] = 1
			}
			for (i = 1; i <= n; i++) if (change[i] == "added") now[path[i]] = 1
			for (p in now) print p
		}' list - | sort
}

# tree_lines list DIR, tree_lines compare BEFORE NOW: what diff should say, found in another way.
tree_lines() {
	python3 "$ROOT_DIR/tests/lib/tree_lines.py" "$@"
}

# The lines of diff, where nothing was renamed.
lines_are_right() {
	local op seed=${LAYER_SEED:-$RANDOM} KEEP_NAMES=1
	RANDOM=$seed
	echo "LAYER_SEED=$seed"
	tree_lines list mnt >before.list
	for ((op = 0; op < ${LAYER_OPS:-60}; op++)); do change_once; done
	tree_lines list mnt >now.list
	expect 0 umount mnt
	expect 1 diff --files disk.img
	diff <(tree_lines compare before.list now.list) - <<<"$output"
}

# Changes at random: the list gives the paths, the archive all of it.
random_changes_are_told() {
	local op seed
	seed=${LAYER_SEED:-$RANDOM}
	RANDOM=$seed
	echo "LAYER_SEED=$seed"
	for ((op = 0; op < ${LAYER_OPS:-60}; op++)); do change_once; done
	sync -f mnt
	cp -a --sparse=always mnt after
	expect 0 umount mnt
	expect 1 diff --files --json --tar=layer.tar disk.img
	printf '%s\n' "$output" >list.json
	paths_by_list >paths
	(cd after && find . -path ./lost+found -prune -o -mindepth 1 -printf '/%P\n') | sort | diff - paths
	unpack layer.tar before
	diff <(manifest after) <(manifest before)
}

# Files are renamed and replaced in every way.
every_rename_is_told() {
	mv mnt/a mnt/moved
	rm -r mnt/moved/x
	echo other >mnt/moved/x
	mkdir mnt/a
	echo new >mnt/a/f1
	mv mnt/b/x/f1 mnt/b/x/f2
	rm -r mnt/c/x
	echo file >mnt/c/x
	rm mnt/c/f1
	mkdir mnt/c/f1
	echo in >mnt/c/f1/in
	mv mnt/b/y mnt/a/y
	rm -r mnt/c/y
	mkdir mnt/c/y
	cp -a before/c/y/f1 mnt/c/y/f1
	cp -a mnt after
	expect 0 umount mnt
	expect 1 diff --files --tar=layer.tar disk.img
	grep -qx 'renamed   /a/ -> /moved/ .*' <<<"$output" || grep -qx 'renamed   /a/ -> /moved/' <<<"$output"
	grep -qx 'added     /a/' <<<"$output"
	grep -qx 'renamed   /b/y/ -> /a/y/.*' <<<"$output"
	grep -q '^modified  /c/x (type' <<<"$output"
	bsdtar -tf layer.tar >list
	grep -qx 'a/.wh..wh..opq' list
	grep -qx 'c/y/.wh..wh..opq' list
	grep -qx 'c/.wh.x' list
	# Nothing of the old layer is in sight below a name that came.
	run -1 grep '^moved/.*[.]wh[.]' list
	unpack layer.tar before
	diff <(manifest after) <(manifest before)
}
