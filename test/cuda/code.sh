#!/bin/sh
# code.sh FOLDER - is what nvcc made of the kernels what they say?  By its PTX, by what ptxas
# said, and by the machine code where there is a cuobjdump.
cd "$1" || exit 2
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

none() {
	! grep -qE "$1" "$2"
}

check "the products are made of integers" grep -q 'mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32' kernels.ptx
check "activations are copied behind the product's back" grep -q 'cp.async.cg.shared.global' kernels.ptx
check "no approximation" none 'approx|\.ftz' kernels.ptx
check "nothing spills" none '[1-9][0-9]* bytes (stack frame|spill)' ptxas.log

if command -v cuobjdump >/dev/null; then
	cuobjdump -sass kernels.fatbin >kernels.sass
	check "SASS: integer products" grep -qE 'IMMA\.16832\.U8\.S8' kernels.sass
	check "SASS: weights in pieces of 16 bytes" grep -qE 'LDG\.E\.128' kernels.sass
	check "SASS: no approximate exponential" none 'MUFU\.EX2' kernels.sass
	check "SASS: nothing of a thread in memory" none '\b(STL|LDL)\b' kernels.sass
fi
exit $failed
