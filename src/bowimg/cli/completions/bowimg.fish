# SPDX-License-Identifier: MIT
# fish completion of bowimg. Made from its help texts: scripts/completions.

# The verb on the line, by its own name.
function __bowimg_verb
    set -l words (commandline -opc)
    set -q words[2]; or return
    set -l alias (string match -- "$words[2] *" $__bowimg_aliases | string split ' ')
    set -q alias[2]; and echo $alias[2]; or echo $words[2]
end

function __bowimg_wants_verb
    set -l words (commandline -opc)
    test (count $words) -eq 1; or test (count $words) -eq 2 -a "$words[2]" = help
end

# In the line of this verb, before "--"?
function __bowimg_in
    test "$(__bowimg_verb)" = $argv[1]; and not contains -- -- (commandline -opc)
end

# The command of a verb that takes one, after "--"?
function __bowimg_in_command
    test "$(__bowimg_verb)" = $argv[1]; and contains -- -- (commandline -opc)
end

# __bowimg_at VERB N OPTION...: is the word that is typed now operand N? The options take the next word.
function __bowimg_at
    test "$(__bowimg_verb)" = $argv[1]; or return
    set -l count 0
    set -l pending no
    set -l dashes no
    for word in (commandline -opc)[3..]
        if test $pending = yes
            set pending no
        else if test $dashes = no; and test "$word" = --
            set dashes yes
        else if test $dashes = no; and contains -- "$word" $argv[3..]
            set pending yes
        else if test $dashes = yes; or not string match -qr -- '^-.' $word
            set count (math $count + 1)
        end
    end
    test $pending = no; and test (math $count + 1) -eq $argv[2]
    and begin; test $dashes = yes; or not string match -q -- '-*' (commandline -ct); end
end

# The marks of the first image on the line, wherever it stands.
function __bowimg_marks
    set -l words (commandline -op)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    for word in (string replace -r '^~/' "$HOME/" -- $words[3..])
        test -f "$word" -o -b "$word"; or continue
        set -l marks ($program mark --list --json -- $word 2>/dev/null </dev/null |
            string replace -rf '.*"name": "([^"]*)".*' '$1')
        set -q marks[1]; or continue
        printf '%s\n' $marks
        return
    end
end

# A name that is there can only be deleted.
function __bowimg_names
    contains -- --delete (commandline -op); and __bowimg_marks
end

# The sources of free maps may be a file.
function __bowimg_map
    echo map:
    set -l typed (commandline -ct)
    string match -q -- '*map:*' $typed; or return
    for path in (__fish_complete_path (string replace -r '.*map:' '' -- $typed))
        echo map:$path
    end
end

# What the command's own completion says.
function __bowimg_command
    set -l words (commandline -opc)
    set -l command $words[(math (contains -i -- -- $words) + 1)..]
    complete -C (string join ' ' -- (string escape -- $command) (commandline -ct))
end

set -g __bowimg_aliases
complete -c bowimg -f
complete -c bowimg -n __bowimg_wants_verb -a help -d 'show the options of a verb'
complete -c bowimg -n __bowimg_wants_verb -s h -l help -d 'show the verbs'
complete -c bowimg -n __bowimg_wants_verb -s V -l version -d 'show the version'
@TABLE@
