# SPDX-License-Identifier: MIT
# A thin front to Meson: `make help` lists what there is.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
BENCH_BUILD := build-bench
TEST_BUILDS := build-gcc build-clang build-asan build-tsan build-fuzz

.PHONY: all help setup setup-bench run test bench charts install clean

all: $(BUILD)/build.ninja | setup
	@ninja -C $(BUILD) --quiet

help:
	@echo 'make                build: build/lltest, build/tmpfs, build/passthroughfs'
	@echo 'make run            mount the three under run/ until Ctrl-C; SOURCE=DIR is what passthroughfs mirrors'
	@echo 'make run FS=NAME    mount one of them; MOUNTPOINT=DIR says where'
	@echo 'make test           run every check and test; ONLY=format|build|install|unit|mounted|asan|tsan|fuzz, TESTS=PYTEST-ARGUMENTS'
	@echo 'make bench          our file systems against the kernel and others that do the same (as root, up to 15 minutes);'
	@echo '                    ONLY=tmpfs,metadata a part, BASELINE=FILE against a saved result; bench/README.md has the rest'
	@echo 'make charts         the results of the last make bench, of everything, to docs/performance.md'
	@echo 'make install        to PREFIX ($(PREFIX)), below DESTDIR if that is set'
	@echo 'make clean          remove what was built'
	@echo 'All but clean install first what is missing (as root on a Debian-like system), or say what that is.'

setup:
	@scripts/setup build

$(BUILD)/build.ninja: | setup
	@meson setup --prefix '$(PREFIX)' $(BUILD)

# The scripts find these in the environment, where no quoting can go wrong.
run: export FS := $(FS)
run: export MOUNTPOINT := $(MOUNTPOINT)
run: export SOURCE := $(SOURCE)
run: all
	@exec scripts/run

test: export ONLY := $(ONLY)
test: export TESTS := $(TESTS)
test:
	@scripts/setup test
	@exec scripts/test

# Of libfuse's examples two are peers; the benchmark builds them itself, and goes on where it cannot.
# Standard output is for the report.
setup-bench:
	@scripts/setup bench

$(BENCH_BUILD)/build.ninja: | setup-bench
	@meson setup --buildtype=release -Dbench=true -Dtests=disabled -Dfuse3:examples=true $(BENCH_BUILD) >&2

bench: export ONLY := $(ONLY)
bench: export RUNS := $(RUNS)
bench: export TRANSPORT := $(TRANSPORT)
bench: export FULL := $(FULL)
bench: export BASELINE := $(BASELINE)
bench: export REFERENCE := $(REFERENCE)
bench: export LLFUSE_BUILD := $(BENCH_BUILD)
bench: $(BENCH_BUILD)/build.ninja | setup-bench
	@ninja -C $(BENCH_BUILD) --quiet lltest tmpfs llfusectl passthroughfs bench/ops >&2
	@exec bench/run

charts:
	@exec bench/publish

# The prefix is compiled in (llfuse.pc), so a change of it builds again.
install: all
	@meson configure $(BUILD) --prefix '$(PREFIX)'
	@ninja -C $(BUILD) --quiet
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild --skip-subprojects
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:
	rm -rf $(BUILD) $(BENCH_BUILD) $(TEST_BUILDS)
