# SPDX-License-Identifier: MIT
# scripts/release, on a copy of this tree that is a repository of its own.

load ../lib/common

# This tree, as it is, committed; with some news.
setup_file() {
	local all=$BATS_FILE_TMPDIR/all
	mkdir "$all"
	tar -C "$ROOT_DIR" --exclude=./build --exclude=./.git -cf - . | tar -C "$all" -xf -
	grep -q '^## Next$' "$all/NEWS.md" || sed -i '1a\\n## Next\n\n- Something.' "$all/NEWS.md"
	git -C "$all" init -q
	git -C "$all" config core.fsync none
	git -C "$all" add -A
	git -C "$all" -c user.name=tester -c user.email=tester@localhost commit -qm all
}

# tree: that one, in r.
tree() {
	requires git
	git clone -q "$BATS_FILE_TMPDIR/all" r
	git -C r config user.name tester
	git -C r config user.email tester@localhost
}

@test "a release has its version in the header, the manual, the news and a tag, and its day" {
	tree
	run -0 r/scripts/release 98.7.6 "$T"
	[ "$output" = "$(sha256sum "$T/bowimg-98.7.6.tar.gz")" ]
	grep -qx '#define BOWIMG_VERSION "98.7.6"' r/include/bowimg.h
	day=$(sed -n 's/^## 98\.7\.6 (\(20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]\))$/\1/p' r/NEWS.md)
	[ -n "$day" ]
	[ "$(grep -l "^\.TH [A-Z-]* [0-9] $day "'"bowimg 98\.7\.6"' r/man/*.[0-9])" = "$(ls r/man/*.[0-9])" ]
	run ! grep -qx '## Next' r/NEWS.md
	[ "$(git -C r cat-file -t v98.7.6)" = tag ]
	[ "$(git -C r rev-parse 'v98.7.6^{commit}')" = "$(git -C r rev-parse HEAD)" ]
	[ -z "$(git -C r status --porcelain)" ]
}

@test "the tarball of a tag is the same bit for bit wherever it is made" {
	tree
	(umask 022 && r/scripts/release 98.7.6 "$T")
	mkdir elsewhere
	git clone -q --no-hardlinks r "copy of it"
	git -C "copy of it" config tar.umask 0077
	(umask 077 && TZ=Asia/Tokyo LC_ALL=C "copy of it/scripts/release" --tarball v98.7.6 elsewhere)
	cmp bowimg-98.7.6.tar.gz elsewhere/bowimg-98.7.6.tar.gz
	diff <(tar -tzf bowimg-98.7.6.tar.gz | grep -v '/$' | sed 's,^bowimg-98.7.6/,,' | sort) \
		<(git -C r ls-files | sort)
	mkdir x
	tar -C x -xzf bowimg-98.7.6.tar.gz
	make -s -C x/bowimg-98.7.6 help | grep -q '^all '
}

@test "nothing is released that is not committed, not higher, without news or there already" {
	tree
	no() { # VERSION REASON
		local before
		before=$(git -C r rev-parse HEAD && git -C r status --porcelain)
		run -1 r/scripts/release "$1" "$T"
		[[ "$output" = *"$2"* ]]
		[ "$before" = "$(git -C r rev-parse HEAD && git -C r status --porcelain)" ]
		[ ! -e "bowimg-$1.tar.gz" ]
	}
	no 1.2 "no version"
	no 0.0.1 "not higher"
	no "$(sed -n 's/^#define BOWIMG_VERSION "\(.*\)"/\1/p' r/include/bowimg.h)" "not higher"
	echo >>r/README.md
	no 98.7.6 "not committed"
	git -C r checkout -q README.md
	git -C r tag v98.7.6
	no 98.7.6 "there is a tag"
	sed -i '/^## Next$/d' r/NEWS.md
	git -C r commit -qam "no news"
	no 98.7.7 "no news"
	run -2 r/scripts/release
	[[ "$output" = *usage:* ]]
}
