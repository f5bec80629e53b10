#!/bin/sh
# device.sh FOLDER - the backend with the driver that has no GPU, and without any.
build=$1
failed=0
mock() {
	LD_LIBRARY_PATH="$build/mock" "$@" || failed=1
}

mock "$build/check-gpu" 2
# its figures mean nothing here
mock "$build/bench" 1 >/dev/null
mock "$build/test_device"
mock "$build/test_device_memory"
mock "$build/test_device_faults"
mock "$build/test_device_waits"
mock "$build/test_device_picks"
mock "$build/test_device_picks" cuda:0,1
mock "$build/test_device_graphs"
mock "$build/try_wgmma"
mock "$build/test_device_fast"
mock "$build/test_device_several"
mock "$build/test_device_layers"
mock "$build/test_device_beside"
mock "$build/test_device_follow"
mock "$build/test_device_symbols"
mock "$build/test_device_threads"
mock "$build/test_device_faults" cuda:0,1
GLM_MOCK_FAULT=cuInit:0:35 mock "$build/test_device" CUDA_ERROR_INSUFFICIENT_DRIVER
GLM_MOCK_FAULT=cuInit:0:100 mock "$build/test_device" 'CUDA_ERROR_NO_DEVICE (100, no CUDA-capable device is detected)'
# this machine's own driver, if it has one, is left alone
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
	"$build/test_device" 'libcuda.so.1: cannot open shared object file' || failed=1
fi

# what is installed depends on libc alone, and exports one function
for library in "$build/mock/chatglm_cuda.so" chatglm_cuda.so; do
	[ -e "$library" ] || continue
	needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^ld-linux' | tr '\n' ' ')
	exported=$(nm -D --defined-only "$library" | cut -d' ' -f3 | tr '\n' ' ')
	if [ "$needed" = 'libc.so.6 ' ] && [ "$exported" = 'glm_backend_of_library ' ]; then
		echo "ok 1 - $library needs libc alone and exports one function"
	else
		echo "not ok 1 - $library needs $needed and exports $exported"
		failed=1
	fi
done
exit $failed
