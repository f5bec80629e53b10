#!/bin/bash
# gpu-day.sh OUT - what to run first on a machine with a GPU: stages, each with a limit, what
# could be wrong before what could be slow; all of it under nine minutes.  It needs neither
# PostgreSQL nor nvcc where these were built before, in this order:
#     make cuda build/cuda/check-gpu build/cuda/test_device build/cuda/test_device_graphs build/cuda/test_device_fast build/cuda/bench
# Each stage fails or is left out by itself, and leaves OUT/STAGE.log as it goes, so that a stop
# at any time loses one stage.  The table comes last.  test/cuda/day.sh runs it without a GPU.
#     TOTAL=s     for all of it; 540
#     SHAPES=n    random shapes of each kernel; 30
#     PATIENCE=n  limits, so many times as long; 1
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:?the folder for what it finds}
total=${TOTAL:-540}
shapes=${SHAPES:-30}
patience=${PATIENCE:-1}
kill_after=3
failed=0
mkdir -p "$out" || exit 2

stage() { # name, seconds, command...
	local name=$1 limit=$(($2 * patience)) begin=$SECONDS rc
	shift 2
	if [ $((SECONDS + limit + kill_after)) -gt "$total" ]; then
		echo "$name: left out, no time"
		return
	fi
	timeout -k $kill_after "$limit" "$@" >"$out/$name.log" 2>&1
	rc=$?
	[ $rc = 0 ] || [ $rc = 77 ] || failed=1
	echo "$name: $(outcome $rc), $((SECONDS - begin)) s: $(grep -v '^$' "$out/$name.log" | tail -1 | cut -c1-160)"
	grep -E '^not ok|differ' "$out/$name.log" | grep -v ' 0 differ' | head -5
}

outcome() {
	case $1 in
	0) echo fine ;;
	77) echo "left out" ;;
	124 | 137) echo "FAILED (out of time)" ;;
	*) echo "FAILED ($1)" ;;
	esac
}

needs() { # a program: without it the stage is left out
	command -v "$1" >/dev/null || {
		echo "no $1 here"
		return 77
	}
}

machine() {
	needs nvidia-smi || return
	nvidia-smi --query-gpu=name,driver_version,memory.free,clocks.sm,clocks.mem --format=csv,noheader
}

sanitize() { # tool
	needs compute-sanitizer || return
	compute-sanitizer --tool "$1" --error-exitcode 9 build/cuda/check-gpu 3
}
export -f needs machine sanitize

library=${CUDA_LIBRARY:-$PWD/chatglm_cuda.so}

stage machine 15 bash -c machine
stage kernels 90 build/cuda/check-gpu "$shapes"
stage models 90 env CUDA_LIBRARY="$library" build/cuda/test_device gpu
stage graphs 40 env CUDA_LIBRARY="$library" build/cuda/test_device_graphs gpu
stage fast 15 env CUDA_LIBRARY="$library" build/cuda/test_device_fast gpu
for tool in memcheck racecheck initcheck synccheck; do
	stage $tool 42 bash -c "sanitize $tool"
done
stage bench 90 build/cuda/bench ${LAYERS:+"$LAYERS"}
[ ! -e "$out/bench.log" ] || cat "$out/bench.log"
exit $failed
