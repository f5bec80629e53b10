# The backend for NVIDIA's GPUs, and its checks: part of the Makefile.
#
# Kernels need nvcc.  All else is C and C++, and the checks run the kernels on the host, so
# they need no GPU, and without nvcc all but its own pass too.

NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
# Compute capabilities that get machine code, in order; later ones get the PTX of the last,
# which the driver compiles.  ALL=1: all there are kernels for.  90a is 9.0 with wgmma, and has
# no PTX that a later one could take.
CUDA_ARCHES ?= $(if $(ALL),75 80 90a 100,80)

NVCC_INEXACT := -use_fast_math --use_fast_math -ftz=true --ftz=true -prec-div=false --prec-div=false \
	-prec-sqrt=false --prec-sqrt=false -fmad=true --fmad=true
ifneq ($(filter $(NVCC_INEXACT),$(NVCCFLAGS)),)
$(error $(filter $(NVCC_INEXACT),$(NVCCFLAGS)): answers would differ)
endif

CUDA_KERNELS := $(wildcard $(S)cuda/*.cu $(S)cuda/*.h)
CUDA_PTX = $(lastword $(or $(filter-out %a,$(CUDA_ARCHES)),80))
CUDA_GENCODE = $(foreach arch,$(CUDA_ARCHES),-gencode arch=compute_$(arch),code=sm_$(arch)) \
	-gencode arch=compute_$(CUDA_PTX),code=compute_$(CUDA_PTX)
CUDA_NVCC = $(NVCC) $(NVCCFLAGS) -std=c++17 -O3 -fmad=false -Werror all-warnings -I$(or $(S),.) -I$(S)src

# changes when they do
build/cuda/arches: FORCE
	@mkdir -p $(@D)
	@echo '$(CUDA_ARCHES)' | cmp -s - $@ || echo '$(CUDA_ARCHES)' >$@

# ptxas says what each kernel takes of the machine; the list is checked
build/cuda/kernels.fatbin: $(CUDA_KERNELS) build/cuda/arches
	@mkdir -p $(@D)
	$(CUDA_NVCC) $(CUDA_GENCODE) -Xptxas -v -fatbin -o $@ $(S)cuda/all.cu 2>build/cuda/ptxas.log || \
		{ cat build/cuda/ptxas.log >&2; rm -f $@; exit 1; }

build/cuda/kernels.ptx: $(CUDA_KERNELS) build/cuda/arches
	@mkdir -p $(@D)
	$(CUDA_NVCC) -arch=compute_$(CUDA_PTX) -ptx -o $@ $(S)cuda/all.cu

# ---- the library -------------------------------------------------------------------

CUDA_LIB_OBJS = $(patsubst %,build/cuda/lib/%.o,driver launch gpu_stream gpu_graph kv_written gpu_wait gpu_wgmma gpu_fast gpu_backend resident upload gpu_pass operations gpu_pick gpus gpus_pass backend_cuda)
# of the engine, what errors and shapes need: the library has its own
CUDA_ENGINE_OBJS = $(patsubst %,build/engine/%.o,base/error base/utf8 base/pause weights/dtype model/matrices model/kv_layout)
# exports one function and needs libc alone; the driver is found when it is asked for
CUDA_LINK = $(CC) -shared $(GLM_LDFLAGS) -static-libgcc -Wl,-z,defs -Wl,--exclude-libs,ALL -o $@ $(filter %.o,$^)

build/cuda/lib/%.o: $(S)cuda/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -I$(or $(S),.) -c -o $@ $<

build/cuda/lib/image.o: $(S)cuda/image.c build/cuda/kernels.fatbin
	$(CC) $(GLM_CFLAGS) -I$(or $(S),.) -DGLM_CUDA_FATBIN='"build/cuda/kernels.fatbin"' -c -o $@ $<

chatglm_cuda.so: $(CUDA_LIB_OBJS) $(CUDA_ENGINE_OBJS) build/cuda/lib/image.o
	$(CUDA_LINK)

ifneq ($(NVCC),)
all: chatglm_cuda.so
install: install-cuda
endif
uninstall: uninstall-cuda

cuda: chatglm_cuda.so

install-cuda: chatglm_cuda.so
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) chatglm_cuda.so '$(DESTDIR)$(pkglibdir)/'

uninstall-cuda:
	rm -f '$(DESTDIR)$(pkglibdir)/chatglm_cuda.so'

# ---- the kernels on the host -----------------------------------------------------

# Tests alone have these: they run where they are built.
CUDA_HOST_FLAGS = -O2 -g -march=native -ffp-contract=off -fno-strict-aliasing -Wall -Wextra $(WERROR) -MMD -MP \
	-fvisibility=hidden -fPIC -I. -Isrc -Itest/cuda -Itest/unit
CUDA_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all
CUDA_CHECK_OBJS = $(addprefix build/cuda/,host/emulated.o host/gpu_host.o host/host_wgmma.o launch.o) \
	$(patsubst test/cuda/%.c,build/cuda/test/%.o,$(wildcard test/cuda/check*.c)) build/cuda/test/on_host.o

build/cuda/%.o: cuda/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(CUDA_HOST_FLAGS) -c -o $@ $<

build/cuda/%.o: cuda/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CUDA_HOST_FLAGS) -c -o $@ $<

build/cuda/test/%.o: test/cuda/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(CUDA_HOST_FLAGS) -c -o $@ $<

build/cuda/test/%.o: test/cuda/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CUDA_HOST_FLAGS) -c -o $@ $<

build/cuda/asan/%.o: cuda/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(CUDA_HOST_FLAGS) $(CUDA_SANITIZE) -c -o $@ $<

build/cuda/asan/%.o: cuda/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CUDA_HOST_FLAGS) $(CUDA_SANITIZE) -c -o $@ $<

build/cuda/asan/test/%.o: test/cuda/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(CUDA_HOST_FLAGS) $(CUDA_SANITIZE) -c -o $@ $<

build/cuda/asan/test/%.o: test/cuda/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CUDA_HOST_FLAGS) $(CUDA_SANITIZE) -c -o $@ $<

build/cuda/check: $(CUDA_CHECK_OBJS) build/libglm.a
	$(CXX) -o $@ $^ $(GLM_LIBS)

build/cuda/check-asan: $(CUDA_CHECK_OBJS:build/cuda/%=build/cuda/asan/%) build/libglm.a
	$(CXX) $(CUDA_SANITIZE) -o $@ $^ $(GLM_LIBS)

build/cuda/check_faults: build/cuda/host/gpu_host.o build/cuda/host/host_wgmma.o build/cuda/test/check_faults.o
	$(CXX) -o $@ $^

build/cuda/check_faults-asan: build/cuda/asan/host/gpu_host.o build/cuda/asan/host/host_wgmma.o build/cuda/asan/test/check_faults.o
	$(CXX) $(CUDA_SANITIZE) -o $@ $^

# A driver whose device the host is, and the library with any bytes for machine code, for it.  It finds
# its own functions by itself: test_device_symbols.c hides one after the other.
build/cuda/mock/libcuda.so.1: $(addprefix build/cuda/host/,mock_driver.o mock_device.o mock_memory.o mock_events.o mock_graphs.o mock_peers.o emulated.o gpu_host.o host_wgmma.o)
	@mkdir -p $(@D)
	$(CXX) -shared -static-libstdc++ -static-libgcc -Wl,-z,defs -Wl,-Bsymbolic-functions -o $@ $^

build/cuda/mock/image.o: cuda/image.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -I. -DGLM_CUDA_FATBIN='"cuda/image.c"' -c -o $@ $<

build/cuda/mock/chatglm_cuda.so: $(CUDA_LIB_OBJS) $(CUDA_ENGINE_OBJS) build/cuda/mock/image.o
	$(CUDA_LINK)

# with an engine on the backend, and the driver above
CUDA_TESTS = $(patsubst test/cuda/%.c,build/cuda/%,$(wildcard test/cuda/test_*.c))

$(CUDA_TESTS): build/cuda/%: build/cuda/test/%.o build/cuda/test/mock.o $(UNIT_HELPERS) build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ -lcmocka $(GLM_LIBS)

# The same checks, with a driver: that of a GPU, or the one above.
build/cuda/check-gpu: $(patsubst test/cuda/%.c,build/cuda/test/%.o,$(wildcard test/cuda/check*.c)) build/cuda/test/on_gpu.o \
	$(CUDA_LIB_OBJS) build/cuda/$(if $(NVCC),lib,mock)/image.o build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ $(GLM_LIBS)

# what it tries is no matter of the engine's
build/cuda/try_wgmma: build/cuda/test/try_wgmma.o $(CUDA_LIB_OBJS) build/cuda/mock/image.o build/cuda/test/mock.o $(UNIT_HELPERS) build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ -lcmocka $(GLM_LIBS)

build/cuda/bench: build/cuda/test/bench.o $(CUDA_LIB_OBJS) build/cuda/$(if $(NVCC),lib,mock)/image.o build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ $(GLM_LIBS)

CUDA_MOCK = build/cuda/bench build/cuda/check-gpu build/cuda/try_wgmma $(CUDA_TESTS) build/cuda/mock/libcuda.so.1 build/cuda/mock/chatglm_cuda.so
CUDA_CHECKS = build/cuda/check_faults build/cuda/check_faults-asan build/cuda/check build/cuda/check-asan
# random shapes of each kind, in each order of threads
CUDA_SHAPES ?= 30

cuda-check: $(CUDA_CHECKS) $(CUDA_MOCK) $(if $(NVCC),build/cuda/kernels.fatbin build/cuda/kernels.ptx)
	build/cuda/check_faults
	build/cuda/check_faults-asan
	build/cuda/check $(CUDA_SHAPES)
	build/cuda/check-asan 5
	test/cuda/device.sh build/cuda
	test/cuda/day.sh build/cuda
	$(if $(NVCC),test/cuda/code.sh build/cuda $(ALL))

ifneq ($(NVCC),)
# test/t/test_cuda.py
fault: build/cuda/mock/libcuda.so.1
endif

# Takes barriers out one by one, which the checks must notice; minutes.
cuda-mutants: build/cuda/check
	test/cuda/mutants.sh

-include $(wildcard build/cuda/*.d build/cuda/*/*.d build/cuda/asan/*/*.d)

.PHONY: FORCE cuda install-cuda uninstall-cuda cuda-check cuda-mutants
