# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Figures of a benchmark, collected in the file $figures as lines "WORK ROAD ROUND VALUE". To be
# sourced.
: "${figures:?}"

note() {
	echo "$*" >>"$figures"
}

# median WORK A B: of the ratios A/B of each round; with A = B, of the figures in MiB/s.
median() {
	awk -v work="$1" -v a="$2" -v b="$3" '
	$1 == work { figure[$2, $3] = $4; if ($3 > n) n = $3 }
	END {
		for (i = 1; i <= n; i++)
			if (((a, i) in figure) && ((b, i) in figure) && figure[b, i] > 0)
				print a == b ? figure[a, i] / 1024 : figure[a, i] / figure[b, i]
	}' "$figures" | sort -g | awk '{ v[NR] = $1 }
	END { if (NR) printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		else printf "-" }'
}

# median_of WORK ROAD: of the figures as they are.
median_of() {
	awk -v work="$1" -v road="$2" '$1 == work && $2 == road { print $4 }' "$figures" | sort -g |
		awk '{ v[NR] = $1 }
	END { if (NR) printf "%.4g", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		else printf "-" }'
}
