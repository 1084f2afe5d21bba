# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Small wrong changes of the program, to be compiled in the place of the original. To be sourced.
#
# A mutant is a file with "FIELD: VALUE" lines, then for every "file: PATH" pieces of its text and
# what they are replaced by.
: "${build:?where the original is built, with its tests}"
: "${cc:?the compiler, with what is not in print-cppflags}"
: "${flags:?}" "${libs:?}"

field() { # FIELD FILE
	sed -n "s/^$1: //p" "$2"
}

# Apply the substitutions of $1 to the text of $2, onto standard output. A text that is not there
# exactly once means that the mutant no longer means anything: an error.
mutate() {
	perl -0777 -e '
		my ($mutant, $file) = @ARGV;
		open(my $f, "<", $file) or die "$file: $!\n"; my $text = <$f>;
		open(my $m, "<", $mutant) or die "$mutant: $!\n"; my $spec = <$m>;
		my ($n, $part) = (0, $spec =~ /^file: \Q$file\E\n(.*?)(?=^file: |\z)/ms);
		while ($part =~ /^<<<<\n(.*?)^====\n(.*?)^>>>>\n/msg) {
			my ($old, $new) = ($1, $2);
			my $found = () = $text =~ /\Q$old\E/g;
			die "the text to replace is there $found times, not once:\n$old" if $found != 1;
			$text =~ s/\Q$old\E/$new/;
			$n++;
		}
		die "there is nothing to replace\n" unless $n;
		print $text;' "$1" "$2"
}

# compile_mutant MUTANT DIR: DIR/mutant1.o and so on; what is wrong with it into DIR/error.
compile_mutant() {
	local mutant=$1 dir=$2 file n=0
	for file in $(field file "$mutant"); do
		n=$((n + 1))
		mutate "$mutant" "$file" >"$dir/mutant$n.c" 2>"$dir/log" || {
			cp "$dir/log" "$dir/error"
			return 1
		}
		# shellcheck disable=SC2086
		$cc -std=gnu11 -g -w -fPIC $flags -c -o "$dir/mutant$n.o" "$dir/mutant$n.c" \
			>"$dir/log" 2>&1 || {
			{ echo "it does not compile:"; cat "$dir/log"; } >"$dir/error"
			return 1
		}
	done
}

# In any order: what is in one of them may need what is in another.
archives() {
	echo "-Wl,--start-group $(find "$build" -maxdepth 1 -name '*.a' ! -name 'libbowimg.a') -Wl,--end-group"
}

objects_of() { # SUITE TEST: what the program is linked from
	find "$build/obj/tests/$1" -name '*.o' ! -name 'test_*.o'
	echo "$build/obj/tests/$1/$2.o"
}

# The program of a mutant, whatever folder its test lies in.
program_of() { # DIR SUITE TEST
	echo "$1/$2-${3//\//-}"
}

# The object comes before the archive, so that the original is not looked for.
link_test() { # DIR SUITE TEST
	local extra
	extra=$(cat "tests/$2/LDFLAGS" 2>/dev/null)
	# shellcheck disable=SC2046,SC2086
	$cc -o "$(program_of "$@")" $(objects_of "$2" "$3") "$1"/mutant*.o $(archives) $libs $extra >"$1/log" 2>&1
}
