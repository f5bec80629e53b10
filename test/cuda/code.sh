#!/bin/sh
# code.sh FOLDER [ALL] - is what nvcc made of the kernels what they say?  By its PTX, by what ptxas
# said, and by the machine code where there is a cuobjdump: in PATH or of `pip install
# nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm`.  ALL: there must be.
number=0
failed=0

check() { # what, then a command that must succeed
	number=$((number + 1))
	what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok $number - $what"
	else
		echo "not ok $number - $what"
		failed=1
	fi
}

# Each kernel of a listing whose name ends so has this.
those_have() {
	awk -v ends="$1\$" -v has="$2" '/Function :/ {if (in_one && !found) bad = 1; in_one = $3 ~ ends; n += in_one; found = 0}
		in_one && $0 ~ has {found = 1}
		END {exit n == 0 || bad || (in_one && !found)}' "$3"
}

none() {
	! grep -qE "$1" "$2"
}

# Every kernel of a listing, and there are some, has this.
all_have() {
	[ "$(grep -c "$1" "$2")" -ge "$(grep -c 'Function :' "$2")" ] && grep -q 'Function :' "$2"
}

refused() {
	! make -n build/cuda/kernels.fatbin NVCCFLAGS="$1"
}

check "arithmetic that is not exact is refused" refused -use_fast_math
include=$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")/include
[ ! -e "$include/cuda.h" ] || check "the driver's structs are as we declare them" \
	gcc -std=c11 -fsyntax-only -I"$include" -I. -Isrc test/cuda/driver_types.c
cd "$1" || exit 2
check "the products are made of integers" grep -q 'mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32' kernels.ptx
for type in f16 bf16; do
	check "fast products are made of $type" grep -q "mma.sync.aligned.m16n8k16.row.col.f32.$type.$type.f32" kernels.ptx
done
check "activations are copied behind the product's back" grep -q 'cp.async.cg.shared.global' kernels.ptx
check "no approximation" none 'approx|\.ftz' kernels.ptx
check "nothing spills" none '[1-9][0-9]* bytes (stack frame|spill)' ptxas.log

tools=$(python3 -c 'import nvidia, os
print(os.path.join(list(nvidia.__path__)[0], "cu13", "bin"))' 2>/dev/null)
PATH=$PATH:$tools
if [ -n "$2" ] || command -v cuobjdump >/dev/null; then
	check "there is a cuobjdump" command -v cuobjdump
	for arch in $(cat arches); do
		sass=kernels.$arch.sass
		cuobjdump -sass -arch "sm_$arch" kernels.fatbin >"$sass"
		check "sm_$arch: integer products" grep -qE "IMMA\.$([ "${arch%a}" -lt 80 ] && echo 8816 || echo 16832)\.U8\.S8" "$sass"
		check "sm_$arch: fast products of F16" those_have '_f16' "HMMA\\.$([ "${arch%a}" -lt 80 ] && echo 1688 || echo 16816)\\.F32 " "$sass"
		[ "${arch%a}" -lt 80 ] || check "sm_$arch: fast products of BF16" those_have '_bf16' 'HMMA\.16816\.F32\.BF16' "$sass"
		check "sm_$arch: weights in pieces of 16 bytes" grep -qE 'LDG\.E\.128' "$sass"
		check "sm_$arch: no approximate exponential" none 'MUFU\.EX2' "$sass"
		[ "$arch" != 90a ] || check "sm_$arch: products of four warps" grep -q 'IGMMA\.64x64x32\.U8\.S8' "$sass"
		[ "${arch%a}" -lt 90 ] || check "sm_$arch: each kernel awaits the one before" all_have ACQBULK "$sass"
		check "sm_$arch: nothing of a thread in memory" none '\b(STL|LDL)\b' "$sass"
	done
fi
exit $failed
