#!/bin/bash
# gpu-day.sh OUT - what to run first on a machine with a GPU: stages, each with a limit, what
# could be wrong before what could be slow; all of it under nine minutes.  It needs neither
# PostgreSQL nor nvcc where these were built before, in this order:
#     make cuda build/cuda/check-gpu build/cuda/test_device build/cuda/bench
# Each stage leaves OUT/STAGE.log as it goes, so that a stop at any time loses one stage.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:?the folder for what it finds}
total=${TOTAL:-540}
mkdir -p "$out"

stage() { # name, seconds, command...
	local name=$1 limit=$2 begin=$SECONDS rc
	shift 2
	if [ $((SECONDS + limit)) -gt "$total" ]; then
		echo "$name: left out, no time"
		return
	fi
	timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1
	rc=$?
	echo "$name: $([ $rc = 0 ] && echo fine || echo "FAILED ($rc)"), $((SECONDS - begin)) s: $(grep -v '^$' "$out/$name.log" | tail -1 | cut -c1-160)"
	grep -E '^not ok|differ' "$out/$name.log" | grep -v ' 0 differ' | head -5
}

sanitize() { # tool
	command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here"; return 1; }
	compute-sanitizer --tool "$1" --error-exitcode 9 build/cuda/check-gpu 3
}
export -f sanitize

stage machine 15 nvidia-smi --query-gpu=name,driver_version,memory.free,clocks.sm,clocks.mem --format=csv,noheader
stage kernels 100 build/cuda/check-gpu 30
stage models 100 env CUDA_LIBRARY="$PWD/chatglm_cuda.so" build/cuda/test_device gpu
for tool in memcheck racecheck initcheck synccheck; do
	stage $tool 45 bash -c "sanitize $tool"
done
stage bench 100 build/cuda/bench
cat "$out/bench.log"
