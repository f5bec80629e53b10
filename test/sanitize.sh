#!/bin/bash
# sanitize.sh thread|address|valgrind PROGRAM... - runs unit tests under a sanitizer, from the checkout's
# root, one after the other.
#
# Prints one TAP line a program, with the seconds it took; what was found stays in build/KIND/.  Exit 1
# when anything was.  SECONDS_EACH (1800) ends what takes longer, which counts as not run.
kind=$1
shift
cd "$(dirname "$0")/.." || exit 1
mkdir -p "build/$kind"
export TSAN_OPTIONS="halt_on_error=0 exitcode=99" UBSAN_OPTIONS="print_stacktrace=1"
# what the libraries have of their own is theirs
export ASAN_OPTIONS="detect_leaks=1 exitcode=99"
case $kind in
	valgrind) run="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --log-file=build/valgrind/%n" ;;
	*) run= ;;
esac

number=0
failed=0
echo "1..$#"
for program in "$@"; do
	name=${program##*/}
	number=$((number + 1))
	begin=$SECONDS
	timeout "${SECONDS_EACH:-1800}" ${run/\%n/$name.found} "$program" >"build/$kind/$name.log" 2>&1
	status=$?
	took=$((SECONDS - begin))
	case $status in
		0) echo "ok $number - $kind $name, $took s" ;;
		124) echo "ok $number - $kind $name # SKIP not done in $took s" ;;
		*)
			failed=1
			echo "not ok $number - $kind $name, status $status, see build/$kind/$name.log"
			;;
	esac
done
exit $failed
