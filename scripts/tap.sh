# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For scripts that check several things: every check becomes a line of TAP, and its output is shown
# only where it fails. Source this file, call `step NAME COMMAND...`, end with `steps_done`.

steps_run=0
steps_failed=0

step() {
	local name=$1 output status=0
	shift
	steps_run=$((steps_run + 1))
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ]; then
		echo "ok $steps_run - $name"
		return
	fi
	steps_failed=$((steps_failed + 1))
	echo "not ok $steps_run - $name"
	printf '%s\n' "$output" "exit status $status: $*" | sed 's/^/# /'
}

# A check that cannot be done here; a failure where skips count as failures.
step_skip() {
	steps_run=$((steps_run + 1))
	echo "ok $steps_run - $1 # SKIP $2"
}

steps_done() {
	echo "1..$steps_run"
	[ "$steps_failed" -eq 0 ]
}
