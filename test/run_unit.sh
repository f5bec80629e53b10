#!/bin/sh
# run_unit.sh PROGRAM... - runs cmocka programs from the checkout's root.
# All of them run, whatever fails on the way; exit 1 when any did, or hung for a quarter of an hour.
cd "$(dirname "$0")/.." || exit 1
failed=0
for program in "$@"; do
	echo "== ${program##*/}"
	timeout 900 "$program" || failed=1
done
exit $failed
