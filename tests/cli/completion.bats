#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a Tab offers, in the shells themselves: bash and zsh on a terminal, fish by its "complete -C".

load ../lib/common

setup() {
	common_setup
	made=${BOWIMG%/*}/completions
	mkdir bin
	ln -s "$BOWIMG" bin/bowimg
	PATH=$T/bin:$PATH
	asked=() keys=() wanted=()
}

# ---- the three shells: keys on standard input, an answer for each line -----------------------------

# The answer is the line afterwards. M-* puts all that is offered into it.
keys_bash() {
	cat >rc <<-END
		PS1='ready> '
		. '$made/bowimg.bash'
		show() { printf '%s\n' "\$READLINE_LINE" >line.tmp; mv line.tmp line; }
		bind -x '"\C-g": show'
	END
	python3 "$ROOT_DIR/tests/lib/type_keys.py" line bash --noprofile --rcfile rc -i
}

# The line afterwards, or what was offered, which is seen on its way.
keys_zsh() {
	mkdir -p zsh
	ln -sf "$made/bowimg.zsh" zsh/_bowimg
	cat >zsh/.zshrc <<-'END'
		PS1='ready> '
		fpath=($T/zsh $fpath)
		autoload -Uz compinit
		compinit -u -D
		bindkey -e
		compadd() {
			local -a hits
			if [[ -z ${argv[(r)-[OAD]*]} ]]; then
				builtin compadd -A hits "$@"
				offers+=($hits)
			fi
			builtin compadd "$@"
		}
		answer() { print -r -- "$1" >line.tmp; mv line.tmp line; offers=(); }
		show() { answer "$BUFFER"; }
		list() { answer "$offers"; }
		zle -N show
		zle -N list
		bindkey '^G' show
		bindkey '^O' list
	END
	ZDOTDIR=$T/zsh python3 "$ROOT_DIR/tests/lib/type_keys.py" line zsh -d -i
}

# What is offered, for words that are given in place of keys.
keys_fish() {
	# shellcheck disable=SC2016
	fish --no-config -c 'source $argv[1]
		while read -l line
			echo (complete -C $line | string split -f 1 \t | string replace -r "^--[a-z-]*=" "")
		end' "$made/bowimg.fish"
}

# ---- what is asked of them ----------------------------------------------------------------------

# offered LINE WORD...: where LINE ends exactly these words are offered.
offered() {
	asked+=("$1")
	case $shell in
	bash) keys+=("$1"$'\e*\a') ;;
	zsh) keys+=("$1"$'\t\x0f') ;;
	fish) keys+=("$1") ;;
	esac
	shift
	wanted+=("$(echo "$@" | sorted)")
}

# completes LINE RESULT WORD: what a Tab makes of LINE; in fish, that WORD is offered.
completes() {
	asked+=("$1")
	if [ "$shell" = fish ]; then
		keys+=("$1")
		wanted+=("$3")
	else
		keys+=("$1"$'\t\a')
		wanted+=("$2")
	fi
}

sorted() {
	tr -s ' ' '\n' | sed '/^$/d' | sort -u | paste -sd ' '
}

# Of the words that bash has put into the line: those that were not there. fish 4 offers also words that
# only contain the letters of an option, for whoever looks at its list.
words_offered() {
	local line=$1 typed=$2
	if [ "$shell" = bash ]; then
		[ "$line" != "$typed" ] || return 0
		line=${line#"${typed%"${typed##*[ =:]}"}"}
		tr -s ' ' '\n' <<<"$line" | sed 's/=$//' | sorted
	elif [[ $shell/${typed##* } = fish/--[a-z]* && ${typed##* } != *=* ]]; then
		tr -s ' ' '\n' <<<"$line" | grep -e "^${typed##* }" | sorted
	else
		sorted <<<"$line"
	fi
}

# Ask all of it, and compare.
ask() {
	local answers answer i
	printf '%s\n' "${keys[@]}" | "keys_$shell" >answers || {
		cat answers
		return 1
	}
	mapfile -t answers <answers
	for i in "${!asked[@]}"; do
		answer=${answers[i]}
		[ "${keys[i]}" = "${asked[i]}"$'\t\a' ] || answer=$(words_offered "$answer" "${asked[i]}")
		[ "$answer" = "${wanted[i]}" ] || {
			echo "$shell: '${asked[i]}': '$answer', wanted '${wanted[i]}'"
			return 1
		}
	done
}

verbs() {
	"$BOWIMG" --help | sed -n 's/^  \([a-z][a-z]*\)  *[a-z].*/\1/p'
}

options_of() {
	"$BOWIMG" "$1" --help | sed -n 's/^  \(-.*\)/\1/p' | sed 's/  .*//' |
		grep -oE -e '--?[a-zA-Z][a-z-]*' | sort -u
}

# ask_words SHELL [WORD...]: verbs, options, values; these words stand beside the verbs, too.
ask_words() {
	shell=$1
	local all
	all=$(verbs | paste -sd ' ')
	# shellcheck disable=SC2046
	{
		offered "bowimg " "$all" undo info help "${@:2}"
		offered "bowimg commit -" $(options_of commit)
		offered "bowimg undo -" $(options_of rollback)
		offered "bowimg mount --be" --before
	}
	offered "bowimg prepare --store=" free tail
	offered "bowimg prepare --on-full " stop tail
	offered "bowimg prepare --free-from=" auto ext fat partclone map: trim none
	offered "bowimg run --via=" loop fuse nbd
	offered "bowimg run --on-failure=" rollback commit keep
	offered "bowimg run --on-failure=k" keep
	offered "bowimg rollback --force=" changed partial forward
	offered "bowimg mount --stuck-after="
	ask
}

marked_image() {
	make_ext4 disk.img 8M
	mkdir dir
	touch free.map
	expect 0 prepare -q disk.img
	expect 0 mark -q disk.img installed
	expect 0 mark -q disk.img updated
}

ask_marks() {
	shell=$1
	marked_image
	ln -s disk.img "my disk.img"
	offered "bowimg rollback disk.img --to=" installed updated
	offered "bowimg diff disk.img --from " installed updated
	offered "bowimg mount disk.img --before=" installed updated
	offered "bowimg mark --delete disk.img " installed updated
	offered 'bowimg undo my\ disk.img --to=' installed updated
	completes 'bowimg undo "my disk.img" --to=in' 'bowimg undo "my disk.img" --to=installed ' installed
	# A new one is for the user to find; without an image there are none.
	offered "bowimg mark disk.img "
	offered "bowimg rollback --to="
	ask
}

ask_files() {
	shell=$1
	marked_image
	completes "bowimg status dis" "bowimg status disk.img " disk.img
	completes "bowimg mount -p 1 dis" "bowimg mount -p 1 disk.img " disk.img
	completes "bowimg mount disk.img d" "bowimg mount disk.img dir/" dir/
	completes "bowimg attach --fuse d" "bowimg attach --fuse dir/" dir/
	completes "bowimg prepare --free-from=map:fr" "bowimg prepare --free-from=map:free.map " map:free.map
	completes "bowimg diff --tar=fr" "bowimg diff --tar=free.map " free.map
	completes "bowimg commit -- dis" "bowimg commit -- disk.img " disk.img
	completes "bowimg run disk.img -- sha256s" "bowimg run disk.img -- sha256sum " sha256sum
	completes "bowimg prepare --sto" "bowimg prepare --store=" --store
	ask
}

# ask_hostile SHELL: nothing on the line is run, and no address is asked.
ask_hostile() {
	shell=$1
	# shellcheck disable=SC2016
	{
		offered 'bowimg undo $(touch${IFS}pwned) --to='
		offered 'bowimg undo `touch${IFS}pwned` --to='
		offered 'bowimg undo a[$(touch${IFS}pwned)] --to='
		offered 'bowimg a[$(touch${IFS}pwned)] x --to='
	}
	offered 'bowimg undo nbd://localhost/x --to='
	ask
	[ ! -e pwned ]
}

# ---- the tests ----------------------------------------------------------------------------------

@test "the completions know every verb and every option of the program" {
	# shellcheck disable=SC1091
	. "$made/bowimg.bash"
	[ "$(verbs | sort)" = "$(printf '%s\n' "${!_bowimg_operands[@]}" | sort)" ]
	for verb in $(verbs); do
		[ "$(tr ' ' '\n' <<<"${_bowimg_options[$verb]}" | tr -d = | sort -u)" = "$(options_of "$verb")" ]
	done
}

@test "bash offers verbs, options and the values of options" {
	requires python3
	ask_words bash --help --version
}

@test "zsh offers verbs, options and the values of options" {
	requires zsh python3
	ask_words zsh
}

@test "fish offers verbs, options and the values of options" {
	requires fish
	ask_words fish
}

@test "bash offers the marks of the image on the line" {
	requires python3
	ask_marks bash
}

@test "zsh offers the marks of the image on the line" {
	requires zsh python3
	ask_marks zsh
}

@test "fish offers the marks of the image on the line" {
	requires fish
	ask_marks fish
}

@test "bash completes files, directories and the command of run" {
	requires python3
	ask_files bash
}

@test "zsh completes files, directories and the command of run" {
	requires zsh python3
	ask_files zsh
}

@test "fish completes files, directories and the command of run" {
	requires fish
	ask_files fish
}

@test "a Tab runs nothing that stands on the line" {
	requires python3
	ask_hostile bash
}

@test "a Tab runs nothing that stands on the line, in zsh" {
	requires zsh python3
	ask_hostile zsh
}

@test "a Tab runs nothing that stands on the line, in fish" {
	requires fish
	ask_hostile fish
}
