#!/bin/bash
# mutants.sh [N...] - takes one barrier, or wait for copies, out of the kernels at a time, and
# runs their checks: each must be noticed, but for those that are known to be needless here.
# The last line counts.  Minutes; with numbers, those alone.
cd "$(dirname "$0")/../.." || exit 2
place=build/cuda/mutants
pattern='__syncthreads\(\);|__syncwarp\(\);|copy_async_wait<[0-9]>\(\);'
# The host cannot notice: an operation of a warp is a meeting of its lanes there, or the barrier
# guards what one GPU's warps alone could mix up.
known='quantize.cu:__syncwarp'
mkdir -p $place
rm -rf $place/cuda
cp -r cuda $place/cuda

mapfile -t sites < <(grep -nE "$pattern" cuda/*.cu cuda/*.h | grep -v gpu_device | cut -d: -f1,2)
kinds() { # the checks that run a file's kernels
	case $1 in
		*rows*) echo rows ;; *quantize*) echo quantize packed ;; *packed*) echo packed ;;
		*wide*) echo wide ;; *attention*) echo attention ;; *) echo pick ;;
	esac
}

noticed=0 missed=0 number=0
for site in "${sites[@]}"; do
	number=$((number + 1))
	[ $# -gt 0 ] && [[ " $* " != *" $number "* ]] && continue
	file=${site%:*} line=${site#*:}
	sed -E "${line}s/$pattern/;/" "$file" >$place/"$file"
	g++ -std=c++17 -O1 -march=native -ffp-contract=off -fno-strict-aliasing -w -I$place -I. -Isrc \
		-c -o $place/emulated.o $place/cuda/host/emulated.cc || exit 2
	cp "$file" $place/"$file"
	g++ -o $place/check $place/emulated.o build/cuda/host/gpu_host.o build/cuda/launch.o \
		build/cuda/test/{on_host,check,check_attention,check_matrix,check_pick,check_products,check_rows}.o build/libglm.a -lsentencepiece -ljansson -lcrypto -lpthread -lm || exit 2
	seen=
	for kind in $(kinds "$file"); do
		for order in forward reverse random:1 random:2 forward,early random:3,early; do
			timeout 120 $place/check 12 $kind $order >/dev/null 2>&1 || seen="$seen $order"
		done
	done
	what=$(sed -nE "${line}s/.*($pattern).*/\1/p" "$file")
	if [ -n "$seen" ]; then
		noticed=$((noticed + 1))
	elif [[ " $known " != *"${file#cuda/}:${what%%(*}"* ]]; then
		missed=$((missed + 1))
	fi
	echo "$number ${file#cuda/}:$line $what ${seen:- NOT NOTICED}"
done
echo "$noticed noticed, $missed missed"
[ $missed = 0 ]
