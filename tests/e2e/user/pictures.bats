#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The pictures of the README.

load ../../lib/common
load ../../lib/e2e
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse
}

@test "the recording shows what is printed today" {
	"$ROOT_DIR/scripts/record" --check
}

@test "a recording that shows something else is noticed" {
	sed 's/rolled back/taken back/' "$ROOT_DIR/man/pictures/session.svg" >old.svg
	run -1 "$ROOT_DIR/scripts/record" --check old.svg
	[[ $output == *"make it again"* ]]
}

@test "a new recording is a picture of the same" {
	"$ROOT_DIR/scripts/record" new.svg
	python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' new.svg
	"$ROOT_DIR/scripts/record" --check new.svg
	nothing_left
}

@test "the pictures are well-formed, and need nothing but themselves" {
	for picture in "$ROOT_DIR"/man/pictures/*.svg; do
		python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$picture"
		run ! grep -E '(href|src)="[^#]|url\([^#)]|<script|@import' "$picture"
		grep -q "(man/pictures/${picture##*/})" "$ROOT_DIR/README.md"
	done
}
