#!/bin/bash
# sanitize.sh thread|address|valgrind PROGRAM... - runs unit tests under a sanitizer, from the checkout's
# root, one after the other.
#
# Prints one TAP line a program, with the seconds it took; what was found stays in build/KIND/.  A program
# that passed is not run again until it is built anew, so an ended run goes on where it was (AGAIN=1: all).
# The last lines name what failed and what was not done.  Exit 1 when anything failed.  SECONDS_EACH (1800)
# ends what takes longer, which counts as not done.
kind=$1
shift
cd "$(dirname "$0")/.." || exit 1
mkdir -p "build/$kind"
export TSAN_OPTIONS="halt_on_error=0 exitcode=99" UBSAN_OPTIONS="print_stacktrace=1"
# what the libraries have of their own is theirs
export ASAN_OPTIONS="detect_leaks=1 exitcode=99"
case $kind in
	valgrind) run="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=test/unit/valgrind.supp --log-file=build/valgrind/%n" ;;
	*) run= ;;
esac

number=0
failed=
undone=
echo "1..$#"
for program in "$@"; do
	name=${program##*/}
	passed=build/$kind/$name.passed
	number=$((number + 1))
	if [ -z "$AGAIN" ] && [ "$passed" -nt "$program" ]; then
		echo "ok $number - $kind $name, $(cat "$passed") s, before"
		continue
	fi
	rm -f "$passed"
	begin=$SECONDS
	timeout "${SECONDS_EACH:-1800}" ${run/\%n/$name.found} "$program" >"build/$kind/$name.log" 2>&1
	status=$?
	took=$((SECONDS - begin))
	case $status in
		0)
			echo "$took" >"$passed"
			echo "ok $number - $kind $name, $took s"
			;;
		124)
			undone="$undone $name"
			echo "ok $number - $kind $name # SKIP not done in $took s"
			;;
		*)
			failed="$failed $name"
			echo "not ok $number - $kind $name, status $status, see build/$kind/$name.log"
			;;
	esac
done
[ -z "$undone" ] || echo "# $kind, not done:$undone"
[ -z "$failed" ] || echo "# $kind, failed:$failed"
[ -z "$failed" ]
