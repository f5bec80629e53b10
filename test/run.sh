#!/bin/bash
# run.sh SUITE... - runs suites (targets of the Makefile) and counts.
#
# Every suite runs, whatever fails on the way; what each printed stays in
# build/log/.  The counts come from the runners' own words: cmocka's PASSED
# and FAILED, TAP's and pg_regress's ok lines, unittest's.  A suite that ends
# badly without having counted a failure (it did not compile, its server did
# not start) counts as one.  Last line: "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
mkdir -p build/log

count()
{
	grep -Ec "$1" "$2"
}

# cmocka says "[  PASSED  ] 12 test(s)." once a program
cmocka()
{
	sed -n "s/^.*\[  $1  \] \([0-9]*\) test(s).*/\1/p" "$2" | awk '{n += $1} END {print n + 0}'
}

total_passed=0
total_failed=0
for suite in "$@"; do
	log=build/log/$suite.log
	echo "==== $suite"
	make --no-print-directory -j"$(nproc)" "$suite" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}

	# TAP, pg_regress up to 15 ("test x ... ok  12 ms"), unittest ("x (y.Z) ... ok")
	passed=$(($(cmocka PASSED "$log") + $(count '^ok [0-9]' "$log") +
		$(count '^(test )?[^ ].* \.\.\. (\([0-9.]+ s\) )?ok( |$)' "$log")))
	failed=$(($(cmocka FAILED "$log") + $(count '^not ok [0-9]' "$log") +
		$(count '^(test )?[^ ].* \.\.\. (FAILED|FAIL|ERROR)( |$)' "$log")))
	if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		failed=1
	fi
	echo "---- $suite: $passed passed, $failed failed"
	total_passed=$((total_passed + passed))
	total_failed=$((total_failed + failed))
done

echo "$total_passed passed, $total_failed failed"
[ "$total_failed" = 0 ]
