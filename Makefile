# Needs only python3 (3.11, 3.12 or 3.13) and make. Every target that needs the environment makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export RAY_USAGE_STATS_ENABLED := 0

.PHONY: setup demo test check bench bench-compare serve gpu-check lock clean

setup: $(STAMP)

$(STAMP): requirements/all.txt requirements/build.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "needs Python 3.11 to 3.13, found " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/all.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "compiling the kernels once, by a small run; later runs find them in the cache"
	$(BIN)/ihp demo --members 1000 --out $(VENV)/first-run >$(VENV)/first-run.log 2>&1 || { cat $(VENV)/first-run.log; exit 1; }
	touch $@

demo: $(STAMP)
	$(BIN)/ihp demo --out out/demo

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

bench-compare: $(STAMP)
	$(BIN)/python -m benchmarks --compare $(BASE)

gpu-check:
	$(or $(GPU_PYTHON),$(PYTHON)) -m benchmarks.gpu

serve: $(STAMP)
	$(BIN)/ihp serve

# Refreshes the pins where they no longer fit: hashes, every supported Python, and no registry host.
# `make lock UPGRADE=--upgrade` takes the newest of everything.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --extra cluster --extra service --extra peers --extra dev --constraints requirements/constraints.in $(UPGRADE) \
	    pyproject.toml -o requirements/all.txt
	printf 'setuptools<81\nwheel\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header $(UPGRADE) - -o requirements/build.txt

clean:
	rm -rf $(VENV) out build *.egg-info
