#!/bin/sh
# day.sh FOLDER - gpu-day.sh without a GPU: its programs run on the driver for tests, one
# stage that fails leaves the others alone, and its limits add up to less than its time.
build=$1
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
failed=0

check() { # what, condition...
	what=$1
	shift
	if "$@"; then
		echo "ok 1 - gpu-day: $what"
	else
		echo "not ok 1 - gpu-day: $what"
		failed=1
	fi
}

says() { grep -qE "$1" "$place/$2"; }

bash -n cuda/gpu-day.sh || exit 1
# limits, with what a program gets to end after its limit, and sanitizers as often as there are
limits=$(sed -n 's/^\t*stage [^ ]* \([0-9]*\) .*/\1/p' cuda/gpu-day.sh | sort -n |
	awk '{n += $1 + 3; if ($1 == 42) n += 3 * 45} END {print n}')
check "its stages have $limits s of 540" [ "$limits" -le 540 ]

LD_LIBRARY_PATH=$build/mock CUDA_LIBRARY=$PWD/$build/mock/chatglm_cuda.so SHAPES=1 LAYERS=1 TOTAL=100000 PATIENCE=100 \
	cuda/gpu-day.sh "$place/out" >"$place/said"
cat "$place/said" | sed 's/^/    /'
for stage in kernels models graphs fast bench; do
	check "$stage" says "^$stage: fine" said
done
command -v compute-sanitizer >/dev/null || check "sanitizers are left out" says '^racecheck: left out' said
check "the table is last" says "$(tail -1 "$place/said" | cut -c1-6)" out/bench.log

# no driver at all: each stage fails alone
TOTAL=540 SHAPES=1 CUDA_LIBRARY=$PWD/$build/mock/chatglm_cuda.so cuda/gpu-day.sh "$place/none" >"$place/without"
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
	for stage in kernels models graphs fast bench; do
		check "$stage fails alone without a driver" says "^$stage: FAILED" without
	done
fi
# and no time: all are left out
TOTAL=0 cuda/gpu-day.sh "$place/late" >"$place/no_time"
check "stages without time are left out" [ "$(grep -c 'left out, no time' "$place/no_time")" -eq 10 ]
exit $failed
