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

PG_CONFIG ?= pg_config
WERROR ?= -Werror
# Debian's, for its psycopg.
PYTHON ?= /usr/bin/python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export PG_CONFIG

GLM_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" chatglm.control)
MODEL := models/tiny-chatglm3

# ---- the PostgreSQL side, by PGXS -------------------------------------------

MODULE_big = chatglm
EXTENSION = chatglm
DATA = $(wildcard chatglm--*.sql)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/pg/*.c)))

PG_CPPFLAGS = -Isrc -DCHATGLM_VERSION='"$(GLM_VERSION)"'
# PostgreSQL's headers have unused parameters, and so has every hook.
PG_CFLAGS = -Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-declaration-after-statement -MMD -MP
SHLIB_LINK = build/libglm.a $(GLM_LIBS)

REGRESS = $(patsubst sql/%.sql,%,$(wildcard sql/install.sql) \
	$(filter-out sql/install.sql,$(sort $(wildcard sql/*.sql))))
REGRESS_OPTS = --outputdir=build/regress
EXTRA_CLEAN = build $(OBJS:.o=.d)
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

chatglm.so: build/libglm.a

# ---- the engine: build/libglm.a ---------------------------------------------

GLM_LIBS = -lsentencepiece -ljansson -lcrypto -lstdc++ -lpthread -lm

GLM_WARN = -Wall -Wextra $(WERROR)
GLM_FLAGS = -D_GNU_SOURCE -O2 -g $(GLM_WARN) -fPIC -fvisibility=hidden -ffp-contract=off -MMD -MP -Isrc
GLM_CFLAGS = -std=c11 $(GLM_FLAGS)
GLM_CXXFLAGS = -std=c++17 -fvisibility-inlines-hidden $(GLM_FLAGS)

GLM_OBJS = $(patsubst src/engine/%.c,build/engine/%.o,$(sort $(wildcard src/engine/*.c src/engine/kernels/*.c))) \
	$(patsubst src/engine/%.cc,build/engine/%.o,$(sort $(wildcard src/engine/*.cc)))

build/engine/kernels/%.o: GLM_FLAGS += -O3
build/engine/sample.o: GLM_FLAGS += -O3 -fno-trapping-math
ifeq ($(shell uname -m),x86_64)
build/engine/kernels/avx2.o: GLM_FLAGS += -mavx2 -mfma -mf16c
build/engine/kernels/avx512.o: GLM_FLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
build/engine/kernels/packed_avx2.o: GLM_FLAGS += -mavx2 -mfma -mf16c
build/engine/kernels/packed_avxvnni.o: GLM_FLAGS += -mavx2 -mavxvnni -mfma -mf16c
build/engine/kernels/packed_avx512.o: GLM_FLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
endif
ifeq ($(shell uname -m),aarch64)
build/engine/kernels/packed_neon.o: GLM_FLAGS += -march=armv8.2-a+dotprod
endif

build/engine/%.o: src/engine/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -c -o $@ $<

build/engine/%.o: src/engine/%.cc
	@mkdir -p $(@D)
	$(CXX) $(GLM_CXXFLAGS) -c -o $@ $<

build/libglm.a: $(GLM_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

# ---- the embedded model ------------------------------------------------------

install: install-model

install-model:
	$(MKDIR_P) '$(DESTDIR)$(datadir)/extension/chatglm/$(MODEL)'
	$(INSTALL_DATA) $(wildcard $(MODEL)/*) '$(DESTDIR)$(datadir)/extension/chatglm/$(MODEL)/'

uninstall: uninstall-model

uninstall-model:
	rm -rf '$(DESTDIR)$(datadir)/extension/chatglm'

model:
	test/model/make.sh

# ---- tests that need no server ----------------------------------------------

UNIT_HELPERS = $(patsubst test/unit/%.c,build/unit/%.o,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
ifdef T
UNIT_TESTS = build/unit/$(T)
else
UNIT_TESTS = $(patsubst test/unit/%.c,build/unit/%,$(sort $(wildcard test/unit/test_*.c)))
endif

build/unit/%.o: test/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -Itest/unit -c -o $@ $<

build/unit/test_%: build/unit/test_%.o $(UNIT_HELPERS) build/libglm.a
	$(CC) -o $@ $^ -lcmocka $(GLM_LIBS)

.SECONDARY: $(addsuffix .o,$(UNIT_TESTS))

unit: $(UNIT_TESTS)
	test/run_unit.sh $(UNIT_TESTS)

# ---- programs for benchmarks, and a test that needs one ----------------------

BENCH_PROGRAMS = $(patsubst test/bench/%.c,build/bench/%,$(wildcard test/bench/*.c))

build/bench/%: test/bench/%.c test/bench/measure.h build/libglm.a
	@mkdir -p $(@D)
	$(CC) $(GLM_CFLAGS) -ffp-contract=fast -o $@ $< build/libglm.a $(GLM_LIBS)

build/unit/test_random_model: | build/bench/make_random_model

bench-programs: $(BENCH_PROGRAMS)

bench-kernels: build/bench/kernels
	build/bench/kernels -t $(or $(T),1) $(MODEL)

# ---- fuzzing, by clang -------------------------------------------------------

FUZZ_SECONDS ?= 60
FUZZ_TARGETS = $(patsubst test/fuzz/%.c,build/fuzz/%,$(or $(and $(T),test/fuzz/$(T).c),$(wildcard test/fuzz/fuzz_*.c)))
FUZZ_SOURCES = test/fuzz/fuzz.c $(addprefix src/engine/, error.c text.c file.c hash.c weight_file.c \
	chunk.c safetensors.c shards.c shards_data.c manifest.c config.c json.c threads.c affinity.c)

build/fuzz/%: test/fuzz/%.c $(FUZZ_SOURCES) $(wildcard src/engine/*.h test/fuzz/*.h)
	@mkdir -p $(@D)
	clang -std=c11 -D_GNU_SOURCE -O1 -g $(GLM_WARN) -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -Isrc -Itest/fuzz -o $@ $< $(FUZZ_SOURCES) -ljansson -lcrypto -lpthread

fuzz: $(FUZZ_TARGETS)
	test/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# ---- tests that need one ----------------------------------------------------

deps:
	test/install-deps.sh

# Builds as the invoking user, installs as root.
installed: all
	$(SUDO) $(MAKE) --no-print-directory install

cluster:
	@test/cluster.sh start

cluster-stop:
	@test/cluster.sh stop

psql:
	@test/cluster.sh psql

installcheck: cluster
	@mkdir -p build/regress
	eval "$$(test/cluster.sh env)" && $(pg_regress_installcheck) $(REGRESS_OPTS) --dbname=chatglm_regress $(REGRESS)

pgtap: cluster
	eval "$$(test/cluster.sh env)" && \
	psql -Xq -c 'DROP DATABASE IF EXISTS chatglm_pgtap' -c 'CREATE DATABASE chatglm_pgtap' && \
	psql -Xq -d chatglm_pgtap -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION chatglm' && \
	pg_prove --verbose -d chatglm_pgtap test/pgtap/$(or $(T),*).sql

fault: cluster
	eval "$$(test/cluster.sh env)" && \
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m unittest discover -v -s test/t -p '$(or $(T),test_*).py'

# Many sessions as one client sees them; load.py runs it.
build/bench/streams: test/bench/streams.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O2 $(GLM_WARN) -I$(shell $(PG_CONFIG) --includedir) -o $@ $< -L$(shell $(PG_CONFIG) --libdir) -lpq

# FULL=1: everything; else what fits into four minutes once the 6B model is made
bench: cluster $(BENCH_PROGRAMS)
	$(PYTHON) test/bench/bench.py $(if $(FULL),--full)
	$(if $(FULL),build/bench/kernels -t $$(nproc) $(MODEL))
	eval "$$(test/cluster.sh env)" && $(PYTHON) test/bench/serving.py $(if $(FULL),,--quick) && \
	$(PYTHON) test/bench/load.py $(if $(FULL),,--quick)

demo: deps
	$(MAKE) --no-print-directory installed
	test/demo/run.sh

test: deps
	$(MAKE) --no-print-directory installed
	test/run.sh unit installcheck pgtap fault fuzz

help:
	@echo 'chatglm $(GLM_VERSION): ChatGLM models that answer inside PostgreSQL'
	@echo
	@echo '  make demo          build, install, and show it at work in a private cluster'
	@echo '  make test          these suites; the last line counts passed and failed'
	@echo '  make unit          engine tests without a server       (one: T=test_prompt)'
	@echo '  make installcheck  pg_regress, sql/ and expected/      (one: REGRESS="install stream")'
	@echo '  make pgtap         pgTAP suites, test/pgtap/           (one: T=generate)'
	@echo '  make fault         crashes, cancels, standby, test/t/  (one: T=test_cancel)'
	@echo '  make fuzz          files nobody vouches for, test/fuzz/ (one: T=fuzz_config; FUZZ_SECONDS=60)'
	@echo
	@echo '  make bench         measures a 6B beside the limits, delays, throughput; test/bench/ (FULL=1)'
	@echo '  make bench-kernels the arithmetic alone, beside the peak of the machine (T=threads)'
	@echo '  make               build chatglm.so (WERROR= lets warnings pass)'
	@echo '  make install       install into the PostgreSQL of $$PG_CONFIG; as root'
	@echo '  make installed     the same, by sudo where needed'
	@echo '  make deps          install the Debian packages that build and tests need'
	@echo '  make cluster       start the private cluster; prints how to connect'
	@echo '  make psql          open psql in it'
	@echo '  make cluster-stop  stop it'
	@echo '  make model         train the embedded model anew (test/model/README.md)'
	@echo '  make clean         remove what was built'

-include $(OBJS:.o=.d) $(GLM_OBJS:.o=.d) $(wildcard build/unit/*.d build/bench/*.d)

.PHONY: all install uninstall clean help deps installed install-model uninstall-model model \
	unit installcheck pgtap fault fuzz bench bench-programs bench-kernels demo test cluster cluster-stop psql
