#!/bin/bash
# run.sh SECONDS TARGET... - runs fuzz targets from the checkout's root, as many side by side as there
# are CPUs.
#
# Each begins with its corpus, test/fuzz/corpus/; what it adds and what makes it
# fail stays in build/fuzz/.  Prints one TAP line a target; exit 1 when any failed.
seconds=$1
shift
cd "$(dirname "$0")/../.." || exit 1

running=0
for target in "$@"; do
	name=${target##*/fuzz_}
	mkdir -p "build/fuzz/found/$name"
	[ $((++running)) -le "$(nproc)" ] || wait -n
	(
		"$target" -max_total_time="$seconds" -timeout=300 -rss_limit_mb=2048 -max_len=65536 \
			-print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
			"build/fuzz/found/$name" "test/fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1
		echo $? >"build/fuzz/$name.status"
	) &
done
wait

number=0
failed=0
echo "1..$#"
for target in "$@"; do
	name=${target##*/fuzz_}
	number=$((number + 1))
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$name.log")
	if [ "$(cat "build/fuzz/$name.status")" = 0 ]; then
		echo "ok $number - fuzz_$name, ${runs:-0} inputs in $seconds s"
	else
		failed=1
		tail -n 40 "build/fuzz/$name.log" | sed 's/^/# /'
		echo "not ok $number - fuzz_$name, see build/fuzz/$name.log"
	fi
done
exit $failed
