# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What nbdkit's filter "log" wrote about an image that is far away:   load ../lib/flight

# flight FILE KIND...: the most requests of these kinds (Read, Write, Zero, ...) that were in flight at
# once, and all of them.
flight() {
	local file=$1
	shift
	awk -v kinds="^($(tr ' ' '|' <<<"$*"))\$" '
	{
		kind = $4
		ends = sub(/^\.\.\./, "", kind)
		if (kind !~ kinds)
			next
		now += ends ? -1 : 1
		all += !ends
		if (now > most)
			most = now
	}
	END { print most + 0, all + 0 }' "$file"
}
