#!/bin/bash
# mutants.sh [N...] - takes one barrier, or wait for copies, products or earlier kernels, out of the kernels at a time,
# or describes a matrix wrongly, and
# runs their checks until one fails: each must be noticed, but for those that are known not to
# be.  The last line counts.  Minutes; with numbers, those alone.
cd "$(dirname "$0")/../.." || exit 2
place=build/cuda/mutants
pattern='await_previous\(\);|__syncthreads\(\);|__syncwarp\(\);|copy_async_wait<[0-9]>\(\);|wgmma_(show|commit)\(\);|wgmma_(fence<STEPS>|wait<[01], STEPS>)\([^;]*\);'
# Those that the host cannot notice, as file:function:operation, each with its reason: none.
known=''

rm -rf $place
mkdir -p $place
cp -r cuda $place/cuda
mapfile -t sites < <(grep -nE "$pattern" cuda/*.cu cuda/*.h | grep -v gpu_device | cut -d: -f1,2)
number=0
for site in "${sites[@]}"; do
	number=$((number + 1))
	sed -Ei "${site#*:}s/($pattern)/MUTANT($number, \1)/" "$place/${site%:*}"
done
# what wgmma is told of a matrix
described=('leading offset' stride)
sed -i "s/::PITCH, 128);/::PITCH + (mutant == $((number + 1))) * 16, 128 + (mutant == $((number + 2))) * 16);/" \
	$place/cuda/packed_wgmma.cu
# one program for all: which site is taken out is said when it runs
echo 'extern int mutant;' >$place/mutant.h
{ echo '#include <stdlib.h>' && echo 'int mutant = atoi(getenv("MUTANT"));'; } >$place/mutant.cc
g++ -std=c++17 -O1 -march=native -ffp-contract=off -fno-strict-aliasing -w -include $place/mutant.h \
	'-DMUTANT(n, ...)=if (mutant != (n)) __VA_ARGS__' -I$place -I. -Isrc -c -o $place/emulated.o \
	$place/cuda/host/emulated.cc || exit 2
g++ -o $place/check $place/mutant.cc $place/emulated.o build/cuda/host/gpu_host.o build/cuda/host/host_wgmma.o build/cuda/launch.o \
	build/cuda/test/{on_host,check,check_fast,check_[!f]*}.o build/libglm.a -lsentencepiece -ljansson -lcrypto -lpthread -lm || exit 2

kinds() { # the checks that run a file's kernels
	case $1 in
		*rows*) echo rows ;; *quantize*) echo quantize packed ;; *packed*) echo packed ;;
		*wide*) echo wide ;; *fast*) echo fast ;; *rope* | *attention* | *join*) echo attention ;; *pick*) echo pick ;;
		*) echo rows quantize packed wide fast attention pick ;;
	esac
}
seen() { # SITE KIND...: the first check that fails
	local site=$1 kind order
	shift
	ulimit -t 20 # some never end
	for order in forward,dependent reverse,ahead random:1,small random:2,ahead,dependent forward,early random:3,early,ahead; do
		for kind in "$@"; do
			MUTANT=$site $place/check 12 "$kind" $order >/dev/null 2>&1 || {
				echo "$order"
				return
			}
		done
	done
}

wrong=$(seen 0 rows quantize packed wide fast attention pick)
[ -z "$wrong" ] || { echo "with all of them in place the checks fail, $wrong"; exit 1; }
noticed=0 expected=0 missed=0 number=0
for site in "${sites[@]}" "${described[@]}"; do
	number=$((number + 1))
	[ $# -gt 0 ] && [[ " $* " != *" $number "* ]] && continue
	if [ $number -gt ${#sites[@]} ]; then
		file=cuda/packed_wgmma.cu line=$(grep -n 'PITCH, 128);' cuda/packed_wgmma.cu | cut -d: -f1)
	else
		file=${site%:*} line=${site#*:} site=
	fi
	what=$(sed -nE "${line}s/.*($pattern).*/\1/p" "$file")
	function=$(sed -nE "1,${line}s/^(KERNEL\()?([a-z_0-9]+)[(,].*/\2/p" "$file" | grep -v static_assert | tail -n 1)
	name=${file#cuda/}:$function:${site:-${what%%[(<]*}}
	order=$(seen $number $(kinds "$file"))
	if [ -n "$order" ]; then
		noticed=$((noticed + 1))
	elif [[ " $known " == *" $name "* ]]; then
		expected=$((expected + 1))
		order='not noticed, as expected'
	else
		missed=$((missed + 1))
		order='NOT NOTICED'
	fi
	echo "$number $name (line $line): $order"
done
echo "$((noticed + expected + missed)) of $((${#sites[@]} + ${#described[@]})) tried: $noticed noticed, $expected known not to be, $missed missed"
[ $missed = 0 ]
