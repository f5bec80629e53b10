# Makefile - builds, installs and tests chatglm; `make help` lists the targets.
#
# Two things are built.  libglm.a, the engine, by the rules of this file: plain
# C11 without PostgreSQL, each kernel file with the instruction set it is
# written for and everything else with none.  chatglm.so, the PostgreSQL side,
# by PGXS, which links the archive.  The engine stays out of PGXS's OBJS
# because its per-file flags mean nothing to the rules there.
#
# Targets that need packages (demo, test) install those first and then start
# make anew, as PGXS may have come with them.  The version of the extension is
# written in chatglm.control and nowhere else.
#
# Builds outside the source tree: `make -f ../chatglm/Makefile` in a folder of
# its own, with or without VPATH=../chatglm, as pg_buildext does.  $(S) is what
# stands before the name of a source file, and nothing in the source tree.

PG_CONFIG ?= $(if $(PGVERSION),/usr/lib/postgresql/$(PGVERSION)/bin/)pg_config
# A warning ends the build where changes are tested, and nowhere else.
WERROR ?= $(if $(filter-out false 0,$(CI)),-Werror)
# Debian's, for its psycopg.
PYTHON ?= /usr/bin/python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export PG_CONFIG

S := $(or $(VPATH),$(dir $(firstword $(MAKEFILE_LIST))))
S := $(if $(filter-out $(CURDIR),$(realpath $(S))),$(patsubst %//,%/,$(S)/))
# How a recipe starts make anew: $(MAKE) $(AGAIN).
AGAIN = --no-print-directory -f $(firstword $(MAKEFILE_LIST))
GLM_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(S)chatglm.control)
ifeq ($(GLM_VERSION),)
$(error there is no chatglm.control with a version in "$(or $(S),.)"; VPATH is the folder of the sources)
endif
MODEL := models/tiny-chatglm3
in_source_tree := unit sanitize cuda-check cuda-mutants fuzz examples soak bench bench-programs bench-kernels format model demo test
ifneq ($(and $(S),$(filter $(in_source_tree),$(MAKECMDGOALS))),)
$(error $(in_source_tree): these are for the source tree, make -C $(S))
endif

# ---- the flags of whoever builds ---------------------------------------------

# CFLAGS, CXXFLAGS, CPPFLAGS and LDFLAGS may come from the command line or the
# environment (dpkg-buildflags).  They are taken down here, before PGXS puts
# PostgreSQL's own into the same names, and go to both halves, behind our -O2
# and before what this code cannot do without.
#
# An answer must be the same whoever built the program, so what would let the
# compiler round otherwise is left out of them, at the link too: there,
# -ffast-math would change the arithmetic of the whole backend.
INEXACT := -Ofast -ffast-math -funsafe-math-optimizations -fassociative-math -freciprocal-math \
	-ffinite-math-only -fno-signed-zeros -fno-honor-nans -fno-honor-infinities -fapprox-func \
	-fsingle-precision-constant -fcx-limited-range -fcx-fortran-rules -fexcess-precision=fast \
	-ffp-contract=% -ffp-model=% -fdenormal-fp-math% -mdaz-ftz -mfpmath=% -mpc32 -mpc64 -mpc80 -mrecip% -mlow-precision-%

given = $(if $(filter environment command,$(firstword $(origin $(1)))),$(filter-out $(INEXACT),$($(1))))
given_inexact := $(sort $(filter $(INEXACT),$(CFLAGS) $(CXXFLAGS) $(CPPFLAGS) $(LDFLAGS) $(COPT) $(PROFILE)))
ifneq ($(given_inexact),)
$(warning left out, as answers would differ: $(given_inexact))
endif

# PostgreSQL's makefiles add these to CFLAGS and LDFLAGS.
override COPT := $(call given,COPT)
override PROFILE := $(call given,PROFILE)

GIVEN_CFLAGS := $(call given,CFLAGS) $(COPT) $(PROFILE)
GIVEN_CXXFLAGS := $(call given,CXXFLAGS) $(COPT) $(PROFILE)
GIVEN_CPPFLAGS := $(call given,CPPFLAGS)
GIVEN_LDFLAGS := $(call given,LDFLAGS) $(COPT) $(PROFILE)

# PGXS lets the command line have its way and pays no attention to the environment.
from_environment = $(if $(filter environment,$(firstword $(origin $(1)))),$(call given,$(1)))
ENVIRONMENT_CFLAGS := $(call from_environment,CFLAGS)
ENVIRONMENT_CPPFLAGS := $(call from_environment,CPPFLAGS)
ENVIRONMENT_LDFLAGS := $(call from_environment,LDFLAGS)
ifeq ($(origin CFLAGS),command line)
override CFLAGS := $(call given,CFLAGS)
endif
ifeq ($(origin LDFLAGS),command line)
override LDFLAGS := $(call given,LDFLAGS)
endif

# ---- the PostgreSQL side, by PGXS -------------------------------------------

MODULE_big = chatglm
EXTENSION = chatglm chatglm_tap
DATA = $(notdir $(wildcard $(S)chatglm--*.sql $(S)chatglm_tap--*.sql))
OBJS = $(patsubst $(S)src/pg/%.c,build/pg/%.o,$(sort $(wildcard $(S)src/pg/*.c)))

PG_CPPFLAGS = -I$(S)src -DCHATGLM_VERSION='"$(GLM_VERSION)"' $(ENVIRONMENT_CPPFLAGS)
# The first line is PostgreSQL's own, in case CFLAGS was given; its headers have
# unused parameters, and so has every hook.
PG_CFLAGS = $(ENVIRONMENT_CFLAGS) -fno-strict-aliasing -fwrapv \
	-Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-declaration-after-statement -MMD -MP
PG_LDFLAGS = $(ENVIRONMENT_LDFLAGS)
SHLIB_LINK = build/libglm.a $(GLM_LIBS)

REGRESS = $(patsubst $(S)sql/%.sql,%,$(wildcard $(S)sql/install.sql) \
	$(filter-out $(S)sql/install.sql,$(sort $(wildcard $(S)sql/*.sql))))
REGRESS_OPTS = --outputdir=build/regress
EXTRA_CLEAN = build chatglm_cuda.so
# `installcheck` below starts the private cluster; PGXS's does not.
NO_INSTALLCHECK = 1
# No bitcode: inlining a call that waits for a model buys nothing.
override with_llvm := no

.DEFAULT_GOAL := all

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else
all install uninstall:
	@echo "PostgreSQL's build files are missing; 'make deps' installs them" >&2; exit 1
clean:
	rm -rf $(EXTRA_CLEAN)
endif

# By VPATH, make would take what was built in the source tree for built here.
# PGXS needs it for the control file alone.
override srcdir := $(or $(patsubst %/,%,$(S)),.)
override VPATH :=
chatglm.control chatglm_tap.control: ;

build/pg/%.o: $(S)src/pg/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -c -o $@ $<

chatglm.so: build/libglm.a

# ---- the engine: build/libglm.a ---------------------------------------------

GLM_LIBS = -lsentencepiece -ljansson -lcrypto -lstdc++ -lpthread -lm

GLM_WARN = -Wall -Wextra $(WERROR)
GLM_FLAGS = -fPIC -fvisibility=hidden -fno-fast-math -ffp-contract=off -MMD -MP -I$(S)src
GLM_DEFAULTS = -D_GNU_SOURCE -O2 -g $(GLM_WARN) $(GIVEN_CPPFLAGS)
GLM_CFLAGS = $(GLM_DEFAULTS) $(GIVEN_CFLAGS) -std=c11 $(GLM_FLAGS)
GLM_CXXFLAGS = $(GLM_DEFAULTS) $(GIVEN_CXXFLAGS) -std=c++17 -fvisibility-inlines-hidden $(GLM_FLAGS)
GLM_LDFLAGS = $(GIVEN_CFLAGS) $(GIVEN_LDFLAGS)
# Who asks for less optimisation wants to debug.
GLM_O3 := $(if $(filter -O0 -O1 -Og,$(GIVEN_CFLAGS)),,-O3)

GLM_OBJS = $(patsubst $(S)src/engine/%.c,build/engine/%.o,$(sort $(wildcard $(addprefix $(S)src/engine/*/,*.c */*.c)))) \
	$(patsubst $(S)src/engine/%.cc,build/engine/%.o,$(sort $(wildcard $(S)src/engine/*/*.cc)))

build/engine/compute/kernels/%.o: GLM_FLAGS += $(GLM_O3)
build/engine/serve/sample.o: GLM_FLAGS += $(GLM_O3) -fno-trapping-math
ifeq ($(shell uname -m),x86_64)
build/engine/compute/kernels/avx2.o: GLM_FLAGS += -mavx2 -mfma -mf16c
build/engine/compute/kernels/avx512.o: GLM_FLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
build/engine/compute/kernels/packed_avx2.o: GLM_FLAGS += -mavx2 -mfma -mf16c
build/engine/compute/kernels/packed_avxvnni.o: GLM_FLAGS += -mavx2 -mavxvnni -mfma -mf16c
$(addprefix build/engine/compute/kernels/packed_avx512,.o _q4.o _q8.o): GLM_FLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
endif
ifeq ($(shell uname -m),aarch64)
build/engine/compute/kernels/packed_neon.o: GLM_FLAGS += -march=armv8.2-a+dotprod
endif

build/engine/%.o: $(S)src/engine/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -c -o $@ $<

build/engine/%.o: $(S)src/engine/%.cc
	@mkdir -p $(@D)
	$(CXX) $(GLM_CXXFLAGS) -c -o $@ $<

build/libglm.a: $(GLM_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

# ---- the same with faults on demand, for tests ----------------------------------

# Only what has points of injection is compiled anew (engine/base/inject.h).
INJECTED := $(patsubst $(S)src/%.c,build/%.o,$(shell grep -rlE 'GLM_INJECT(ION)?\b' $(S)src --include='*.c'))
INJECTION_OBJS := $(foreach object,$(OBJS) $(GLM_OBJS),$(if $(filter $(object),$(INJECTED)),$(object:build/%=build/injection/%),$(object)))

build/injection/pg/%.o: $(S)src/pg/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -DGLM_INJECTION -c -o $@ $<

build/injection/engine/%.o: $(S)src/engine/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -DGLM_INJECTION -c -o $@ $<

build/injection/chatglm.so: $(INJECTION_OBJS)
	$(LINK.shared) -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) $(GLM_LIBS)

injection: build/injection/chatglm.so

# ---- the embedded model and the manual -----------------------------------------

MODEL_FILES = $(wildcard $(S)$(MODEL)/*)

install: install-model install-doc

install-model:
	$(MKDIR_P) '$(DESTDIR)$(datadir)/extension/chatglm/$(MODEL)'
	$(INSTALL_DATA) $(MODEL_FILES) '$(DESTDIR)$(datadir)/extension/chatglm/$(MODEL)/'

# In a folder of their own, laid out as here so that their links lead somewhere.
DOC_FILES = README.md CHANGELOG.md $(patsubst $(S)%,%,$(wildcard $(S)docs/*.md $(S)docs/*.yml $(S)docs/*.json)) \
	test/bench/RESULTS.md test/bench/forward.svg test/model/README.md cuda/README.md
DOC_DIR = $(DESTDIR)$(docdir)/extension/chatglm

install-doc:
	for file in $(DOC_FILES); do \
		$(MKDIR_P) "$$(dirname '$(DOC_DIR)'/$$file)" && $(INSTALL_DATA) $(S)$$file '$(DOC_DIR)'/$$file || exit 1; \
	done

uninstall: uninstall-model uninstall-doc

uninstall-model:
	rm -rf '$(DESTDIR)$(datadir)/extension/chatglm'

uninstall-doc:
	rm -rf '$(DOC_DIR)'

model:
	test/model/make.sh

# ---- tests that need no server ----------------------------------------------

UNIT_HELPERS = $(patsubst test/unit/%.c,build/unit/%.o,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
ifdef T
UNIT_TESTS = $(T:%=build/unit/%)
else
UNIT_TESTS = $(patsubst test/unit/%.c,build/unit/%,$(sort $(wildcard test/unit/test_*.c)))
endif

build/unit/%.o: test/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -Itest/unit -c -o $@ $<

build/unit/test_%: build/unit/test_%.o $(UNIT_HELPERS) build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ -lcmocka $(GLM_LIBS)

.SECONDARY: $(addsuffix .o,$(UNIT_TESTS)) $(UNIT_HELPERS)

unit: $(UNIT_TESTS)
	test/run_unit.sh $(UNIT_TESTS)

# ---- programs for benchmarks, and a test that needs one ----------------------

BENCH_PROGRAMS = $(patsubst test/bench/%.c,build/bench/%,$(filter-out test/bench/masks_%,$(wildcard test/bench/*.c)))

build/bench/%: test/bench/%.c test/bench/measure.h build/libglm.a
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) $(GLM_LDFLAGS) -ffp-contract=fast -o $@ $< build/libglm.a $(GLM_LIBS)

# This one has several files, and trains a vocabulary.
MASKS_OBJS = $(patsubst test/%,build/%.o,$(basename $(wildcard test/bench/masks.c test/bench/masks_*.c test/bench/masks_*.cc)))

build/bench/%.o: test/bench/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -c -o $@ $<

build/bench/%.o: test/bench/%.cc
	@mkdir -p $(@D)
	$(CXX) $(GLM_CXXFLAGS) -c -o $@ $<

build/bench/masks: $(MASKS_OBJS) build/libglm.a
	$(CC) $(GLM_LDFLAGS) -o $@ $^ -lsentencepiece_train -lz $(GLM_LIBS)

build/unit/test_random_model: | build/bench/make_random_model

# test/constrain/patterns.py drives it
build/test/pattern_match: test/constrain/pattern_match.c build/libglm.a
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) $(GLM_LDFLAGS) -o $@ $< build/libglm.a $(GLM_LIBS)

bench-programs: $(BENCH_PROGRAMS)

bench-kernels: build/bench/kernels
	build/bench/kernels -t $(or $(T),1) $(MODEL)

# ---- GPUs --------------------------------------------------------------------

include $(S)cuda/cuda.mk

# ---- fuzzing, by clang -------------------------------------------------------

FUZZ_SECONDS ?= 30
FUZZ_TARGETS = $(patsubst test/fuzz/%.c,build/fuzz/%,$(or $(and $(T),test/fuzz/$(T).c),$(wildcard test/fuzz/fuzz_*.c)))
# of the rooms that read what nobody vouches for
FUZZ_ROOMS = base weights text model constrain
FUZZ_OBJS = $(patsubst build/%,build/fuzz/%,$(filter $(FUZZ_ROOMS:%=build/engine/%/%) %/quantize/quant_options.o,$(GLM_OBJS)))
FUZZ_FLAGS = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

build/fuzz/engine/%.o: src/engine/%.c
	@mkdir -p $(@D)
	clang $(GLM_CFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

build/fuzz/engine/%.o: src/engine/%.cc
	@mkdir -p $(@D)
	clang++ $(GLM_CXXFLAGS) $(FUZZ_FLAGS) -c -o $@ $<

build/fuzz/libglm.a: $(FUZZ_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

build/fuzz/%: test/fuzz/%.c test/fuzz/fuzz.c test/fuzz/fuzz.h build/fuzz/libglm.a
	clang $(GLM_CFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer -fsanitize-link-c++-runtime -Itest/fuzz -Itest/fuzz/stub -o $@ $(filter-out %.h,$^) $(GLM_LIBS)

fuzz: $(FUZZ_TARGETS)
	test/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# ---- unit tests under sanitizers, by hand -----------------------------------

# An archive and programs for each, in folders of their own.  Valgrind knows no AVX-512, so these tables are
# looked at by the address sanitizer alone.  Those that may have threads come first.
THREADED = $(patsubst %.c,%,$(notdir $(shell grep -lE 'pthread|glm_thread|glm_engine|glm_backend|"client.h"' test/unit/test_*.c)))
SANITIZED = $(filter $(THREADED),$(notdir $(UNIT_TESTS))) $(filter-out $(THREADED),$(notdir $(UNIT_TESTS)))
SANITIZERS = $(or $(KIND),thread address valgrind)
SANITIZE_thread = -O1 -fsanitize=thread
SANITIZE_address = -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANITIZE_valgrind = -include $(CURDIR)/test/unit/unfused.h
build/thread/% build/address/%: CC = clang
build/thread/% build/address/%: CXX = clang++

.PRECIOUS: build/thread/build/libglm.a build/address/build/libglm.a build/valgrind/build/libglm.a
build/%/build/libglm.a: $(wildcard src/engine/*/*.[ch] src/engine/*/*.cc src/engine/*/*/*.[ch])
	@mkdir -p build/$*
	$(MAKE) --no-print-directory -C build/$* -f $(CURDIR)/Makefile CC=$(CC) CXX=$(CXX) CFLAGS='$(SANITIZE_$*)' CXXFLAGS='$(SANITIZE_$*)' build/libglm.a

# $(1): which
define sanitized
build/$(1)/unit/%.o: test/unit/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(GLM_CFLAGS) $$(SANITIZE_$(1)) -Itest/unit -c -o $$@ $$<

build/$(1)/test_%: build/$(1)/unit/test_%.o $(UNIT_HELPERS:build/%=build/$(1)/%) build/$(1)/build/libglm.a
	$$(CXX) $$(GLM_LDFLAGS) $$(SANITIZE_$(1)) -o $$@ $$^ -lcmocka $$(GLM_LIBS)

.SECONDARY: $(UNIT_HELPERS:build/%=build/$(1)/%) $(UNIT_TESTS:build/%=build/$(1)/%.o)
endef
$(foreach kind,thread address valgrind,$(eval $(call sanitized,$(kind))))

sanitize: build/bench/make_random_model $(foreach kind,$(SANITIZERS),$(UNIT_TESTS:build/unit/%=build/$(kind)/%))
	test/install-deps.sh $(filter valgrind,$(SANITIZERS))
	for kind in $(SANITIZERS); do \
		test/sanitize.sh $$kind $(SANITIZED:%=build/$$kind/%) || failed=1; \
	done; [ -z "$$failed" ]

# ---- tests that need one ----------------------------------------------------

# clang-format's layout; .ci/run checks it
format:
	.ci/format -i

deps:
	$(S)test/install-deps.sh

# Builds as the invoking user, installs as root.
installed: all
	$(SUDO) $(MAKE) $(AGAIN) install

cluster:
	@$(S)test/cluster.sh start

cluster-stop:
	@$(S)test/cluster.sh stop

psql:
	@$(S)test/cluster.sh psql

# These two run in the server that PGHOST or PGPORT names (pg_virtualenv), else
# in the private cluster; fault always does, as it kills and restarts it.
USE_SERVER = server=$$($(S)test/cluster.sh use) && eval "$$server"

installcheck:
	@mkdir -p build/regress
	$(USE_SERVER) && $(pg_regress_installcheck) $(REGRESS_OPTS) --dbname=chatglm_regress $(REGRESS)

pgtap:
	$(USE_SERVER) && \
	psql -Xq -d postgres -c 'DROP DATABASE IF EXISTS chatglm_pgtap' -c 'CREATE DATABASE chatglm_pgtap' && \
	psql -Xq -d chatglm_pgtap -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION chatglm' && \
	pg_prove --verbose -d chatglm_pgtap $(S)test/pgtap/$(or $(T),*).sql

fault: cluster injection
	@ls $(S)test/t/$(or $(T:.py=),test_*).py >/dev/null # unittest calls it success when nothing matches
	eval "$$($(S)test/cluster.sh env)" && \
	PYTHONDONTWRITEBYTECODE=1 CHATGLM_INJECTION=$(CURDIR)/build/injection/chatglm.so \
	$(PYTHON) -m unittest discover -v -s $(S)test/t -p '$(or $(T:.py=),test_*).py'

# The drivers' examples that docs/recipes.md shows; installs the drivers first.
examples: cluster
	test/examples/install.sh
	eval "$$(test/cluster.sh env)" && \
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m unittest discover -v -s test/examples -p run.py

# Everything at once, in a cluster of its own: are answers the same, does anything pile up?
soak: cluster
	eval "$$(test/cluster.sh env)" && \
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) test/soak/soak.py --minutes $(or $(MINUTES),10) --sessions $(or $(SESSIONS),32)

# Many sessions as one client sees them; load.py runs it.
build/bench/streams: test/bench/streams.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O2 $(GLM_WARN) -I$(shell $(PG_CONFIG) --includedir) -o $@ $< -L$(shell $(PG_CONFIG) --libdir) -lpq

# FULL=1: everything; else what fits into four minutes once the 6B model is made
bench: cluster $(BENCH_PROGRAMS)
	$(PYTHON) test/bench/bench.py $(if $(FULL),--full)
	$(if $(FULL),build/bench/kernels -t $$(nproc) $(MODEL))
	eval "$$(test/cluster.sh env)" && $(PYTHON) test/bench/serving.py $(if $(FULL),,--quick) && \
	$(PYTHON) test/bench/load.py $(if $(FULL),,--quick) && $(PYTHON) test/bench/jobs.py $(if $(FULL),,--quick)

demo: deps
	$(MAKE) $(AGAIN) installed
	test/demo/run.sh

test: deps
	$(MAKE) $(AGAIN) -j$$(nproc) installed
	test/run.sh unit cuda-check installcheck pgtap fault fuzz

help:
	@echo 'chatglm $(GLM_VERSION): ChatGLM models that answer inside PostgreSQL'
	@echo
	@echo '  make demo          build, install, and show it at work in a private cluster'
	@echo '  make test          these suites; the last line counts passed and failed'
	@echo '  make unit          engine tests without a server       (one: T=test_prompt)'
	@echo '  make cuda-check    the kernels for GPUs on the host, bit by bit (CUDA_SHAPES=30; ALL=1)'
	@echo '  make cuda-mutants  are barriers that are taken out of them noticed?  two minutes'
	@echo '  make installcheck  pg_regress, sql/ and expected/      (one: REGRESS="install stream")'
	@echo '  make pgtap         pgTAP suites, test/pgtap/           (one: T=generate)'
	@echo '  make fault         crashes, cancels, standby, test/t/  (one: T=test_cancel)'
	@echo '  make fuzz          files nobody vouches for, test/fuzz/ (one: T=fuzz_config; FUZZ_SECONDS=30)'
	@echo '  make sanitize      unit tests under TSan, ASan and UBSan, valgrind; hours (T="test_wire test_kv" KIND=thread)'
	@echo
	@echo '  make examples      the examples for drivers, test/examples/; installs the drivers'
	@echo '  make soak          ten minutes of everything at once: answers, memory, what is left (MINUTES=10 SESSIONS=32)'
	@echo '  make bench         measures a 6B beside the limits, delays, throughput; test/bench/ (FULL=1)'
	@echo '  make bench-kernels the arithmetic alone, beside the peak of the machine (T=threads)'
	@echo '  make               build chatglm.so; also outside the source tree: make -f ../chatglm/Makefile'
	@echo '                     CFLAGS, CPPFLAGS, LDFLAGS are respected; WERROR=-Werror or CI=true: no warnings'
	@echo '  make cuda          build chatglm_cuda.so too, for GPUs; done by make where there is nvcc (CUDA_ARCHES="75 80 90a 100")'
	@echo '  make install       install into the PostgreSQL of $$PG_CONFIG; as root'
	@echo '  make installed     the same, by sudo where needed'
	@echo '  make deps          install the Debian packages that build and tests need'
	@echo '  make cluster       start the private cluster; prints how to connect'
	@echo '  make psql          open psql in it'
	@echo '  make cluster-stop  stop it'
	@echo '  make model         train the embedded model anew (test/model/README.md)'
	@echo '  make format        lay the C out as .clang-format says'
	@echo '  make clean         remove what was built'

-include $(sort $(OBJS:.o=.d) $(GLM_OBJS:.o=.d) $(FUZZ_OBJS:.o=.d) $(INJECTION_OBJS:.o=.d)) $(wildcard build/unit/*.d build/*/unit/*.d build/bench/*.d)

.PHONY: all install uninstall clean help deps installed install-model uninstall-model install-doc uninstall-doc model \
	unit sanitize installcheck pgtap fault fuzz injection examples soak format bench bench-programs bench-kernels demo test cluster cluster-stop psql
