#compdef bowimg
# SPDX-License-Identifier: MIT
# zsh completion of bowimg. Made from its help texts: scripts/completions.

@TABLE@

# The marks of the first image on the line, wherever it stands. Nothing of the line is evaluated.
_bowimg_marks() {
	local word
	local -a marks
	for word in "${(@Q)_bowimg_line[3,-1]}"; do
		word=${word/#\~\//$HOME/}
		[[ -f $word || -b $word ]] || continue
		marks=(${(f)"$("$_bowimg_program" mark --list --json -- "$word" 2>/dev/null </dev/null |
			sed -n 's/.*"name": "\([^"]*\)".*/\1/p')"})
		(( $#marks )) && break
	done
	_wanted marks expl mark compadd -a marks
}

# A name that is there can only be deleted.
_bowimg_names() {
	if (( ${_bowimg_line[(I)--delete]} )); then _bowimg_marks; else _message name; fi
}

# _bowimg_values VALUE...: map:FILE has the name of a file.
_bowimg_values() {
	local expl
	if (( ${argv[(I)map:FILE]} )) && compset -P map:; then
		_files
		return
	fi
	_wanted values expl value compadd -- ${argv:#map:FILE}
	(( ! ${argv[(I)map:FILE]} )) || _wanted values expl value compadd -S '' -- map:
}

# _bowimg_command VERB: is the command of the verb typed, after "--"? Then complete that.
_bowimg_command() {
	local dashes=${words[(i)--]}
	(( ${_bowimg_with_command[(I)$1]} && dashes < CURRENT )) || return 1
	shift $dashes words
	(( CURRENT -= dashes ))
	_normal
	return 0
}

_bowimg_verbs() {
	local -a names=("$_bowimg_verb_list[@]" ${(k)^_bowimg_aliases}:alias "help:show the options of a verb")
	_describe verb names
}

_bowimg() {
	local curcontext=$curcontext state line expl
	local -a _bowimg_line=("$words[@]")
	local _bowimg_program=${${(Q)words[1]}/#\~\//$HOME/}
	_arguments -C '(- *)'{-h,--help}'[show the verbs]' '(- *)'{-V,--version}'[show the version]' \
		'1:verb:_bowimg_verbs' '*::argument:->arguments'
	[[ $state == arguments ]] || return
	local verb=${_bowimg_aliases[$words[1]]:-$words[1]}
	if [[ $verb == help ]]; then
		_arguments '1:verb:_bowimg_verbs'
	elif ! _bowimg_command "$verb"; then
		_bowimg_arguments "$verb"
	fi
}

_bowimg "$@"
