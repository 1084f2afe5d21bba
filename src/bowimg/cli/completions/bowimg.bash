# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: MIT
# bash completion of bowimg. Made from its help texts: scripts/completions.

@TABLE@

# The words of the line up to the cursor, as the shell has them: readline also divides at "=" and ":".
_bowimg_split() {
	local rest=${COMP_LINE:0:COMP_POINT} word i
	words=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
			words+=("")
		fi
		rest=${rest#"${rest%%[![:space:]]*}"}
		[[ ${#word} -le ${#rest} ]] || word=$rest
		rest=${rest:${#word}}
		words[${#words[@]} - 1]+=$word
	done
}

# What the words before the cursor are: verb, operands, an option that waits for its argument ($pending),
# and whether "--" has come ($dashes).
_bowimg_parse() {
	local i word
	verb=${words[1]}
	verb=${_bowimg_aliases[$verb]:-$verb}
	for ((i = 2; i < ${#words[@]} - 1; i++)); do
		word=${words[i]}
		if [[ $pending ]]; then
			pending=
		elif [[ $dashes || $word != -?* ]]; then
			((operands += 1))
		elif [[ $word == -- ]]; then
			dashes=$i
		elif [[ ${_bowimg_arguments["$verb $word"]+set} ]]; then
			pending=$word
		fi
	done
}

# A word of the line without its quotes. Nothing of it is evaluated.
_bowimg_unquote() {
	local word=${1//[\\\'\"]/}
	[[ $word != \~/* ]] || word=$HOME/${word:2}
	REPLY=$word
}

# The marks of the first image on the line, wherever it stands.
_bowimg_marks() {
	local word names
	for word in "${COMP_WORDS[@]:2}"; do
		_bowimg_unquote "$word"
		[[ -f $REPLY || -b $REPLY ]] || continue
		names=$("$program" mark --list --json -- "$REPLY" 2>/dev/null </dev/null |
			sed -n 's/.*"name": "\([^"]*\)".*/\1/p')
		[[ $names ]] || continue
		printf '%s\n' "$names"
		return
	done
}

# _bowimg_offer PREFIX WORD...: those that begin with what is typed; all of it is PREFIX and more. Only
# what follows the last "=" or ":" is replaced, if readline divides there.
_bowimg_offer() {
	local typed=$cur prefix=$1 word kept=
	shift
	case $COMP_WORDBREAKS in *=*) [[ $typed != *=* ]] || kept=${typed%"${typed##*=}"} ;; esac
	case $COMP_WORDBREAKS in *:*) [[ $typed != *:* ]] || kept=${typed%"${typed##*:}"} ;; esac
	for word; do
		[[ $prefix$word != "$typed"* ]] || COMPREPLY+=("${prefix:${#kept}}$word")
	done
	# The prefix may end before what is kept: "map:".
	[[ ${#kept} -le ${#prefix} ]] || COMPREPLY=()
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]]; then compopt -o nospace; fi
}

# _bowimg_argument KIND PREFIX: what may follow PREFIX. Files are left to readline, which knows how they
# are quoted.
_bowimg_argument() {
	local kind=$1 prefix=$2 value=${cur#"$2"}
	# shellcheck disable=SC2046,SC2086
	case $kind in
	NAME) _bowimg_offer "$prefix" $(_bowimg_marks) ;;
	DIR) compopt -o dirnames ;;
	*[[:lower:]]*)
		if [[ $kind == *map:FILE* && $value == map:* ]]; then
			compopt -o default
		else
			_bowimg_offer "$prefix" ${kind/map:FILE/map:}
		fi
		;;
	*FILE | *IMAGE | PATH) compopt -o default ;;
	esac
}

_bowimg_operand() {
	local kinds
	read -ra kinds <<<"${_bowimg_operands[$verb]}"
	local kind=${kinds[operands]:-}
	# A name that is there can only be deleted.
	[[ $kind != NAME || " ${words[*]} " == *" --delete "* ]] || return
	_bowimg_argument "$kind" ""
}

_bowimg_verb() {
	if [[ ${#words[@]} -eq 2 ]]; then
		_bowimg_offer "" "${!_bowimg_operands[@]}" "${!_bowimg_aliases[@]}" help --help --version
	else
		_bowimg_offer "" "${!_bowimg_operands[@]}"
	fi
}

_bowimg_command() {
	if declare -F _command_offset >/dev/null; then
		_command_offset $((dashes + 1))
	elif [[ $dashes -eq $((${#words[@]} - 2)) ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	else
		compopt -o default
	fi
}

_bowimg() {
	local program=$1 words cur verb operands=0 pending='' dashes='' REPLY
	_bowimg_split
	_bowimg_unquote "$program"
	program=$REPLY
	cur=${words[${#words[@]} - 1]}
	COMPREPLY=()
	if [[ ${#words[@]} -eq 2 || ${words[1]} == help && ${#words[@]} -eq 3 ]]; then
		_bowimg_verb
		return
	fi
	_bowimg_parse
	if [[ $pending ]]; then
		_bowimg_argument "${_bowimg_arguments["$verb $pending"]}" ""
	elif [[ $dashes && ${_bowimg_commands[$verb]:-} ]]; then
		_bowimg_command
	elif [[ ! $dashes && $cur == --*=* ]]; then
		_bowimg_argument "${_bowimg_arguments["$verb ${cur%%=*}"]:-${_bowimg_arguments["$verb ${cur%%=*}="]:-}}" \
			"${cur%%=*}="
	elif [[ ! $dashes && $cur == -* ]]; then
		# shellcheck disable=SC2086
		_bowimg_offer "" ${_bowimg_options[$verb]:-}
	else
		_bowimg_operand
	fi
}

complete -F _bowimg bowimg
