# Needs only Python (3.11, 3.12 or 3.13) and make. Every target that needs the environment makes it,
# of the first interpreter that requirements/interpreters.sh finds; PYTHON=... takes another.
PYTHON ?= $(or $(shell requirements/interpreters.sh | sed -n '1s/[^ ]* [^ ]* //p'),python3)
GPU_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export RAY_USAGE_STATS_ENABLED := 0

.PHONY: setup demo test test-domain test-service test-around test-without-ray test-others check picture pages docs bench \
    bench-compare chaos serve gpu-check lock clean

define FITS
import sys
found = sys.version_info[:2]
if not (3, 11) <= found <= (3, 14):
    sys.exit("needs Python 3.11 to 3.14, found " + sys.version)
if found == (3, 14):
    print("Python 3.14 is not tested; 3.11, 3.12 and 3.13 are", file=sys.stderr)
endef
export FITS

setup: $(STAMP)

# A module is compiled when it is first imported, which most never are: pip would compile them all.
$(STAMP): requirements/all.txt requirements/build.txt pyproject.toml
	test -x $(BIN)/python || { python="$(PYTHON)" && "$$python" -c "$$FITS" && "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/all.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "compiling the kernels once, by a small run; later runs find them in the cache"
	$(BIN)/ihp demo --members 1000 --out $(VENV)/first-run >$(VENV)/first-run.log 2>&1 || { cat $(VENV)/first-run.log; exit 1; }
	touch $@

demo: $(STAMP)
	$(BIN)/ihp demo --out out/demo

# The whole suite, in parts that `make -j` runs side by side, the longest first.
DOMAIN := tests/ihp_compute tests/by_hand tests/oracle
SERVICE := tests/api tests/cluster
test: test-domain test-service test-around

test-domain: $(STAMP)
	$(BIN)/python -m pytest $(DOMAIN)

test-service: $(STAMP)
	$(BIN)/python -m pytest $(SERVICE) -o cache_dir=.pytest_cache/service

test-around: $(STAMP)
	$(BIN)/python -m pytest tests $(patsubst %,--ignore %,$(DOMAIN) $(SERVICE)) -o cache_dir=.pytest_cache/around

test-without-ray: $(STAMP)
	$(BIN)/python -m pytest -m "not service and not ray"

# What an interpreter can change, on every other tested one of this machine, each in an environment of
# its own. Numba compiles its bytecode, and whole runs give its digests: kernels, digests and contracts
# run on each. On the newest run besides what reads texts, dates and numbers, and what stands on
# libraries that are built for it: ingest, store, service and command line. Under our own alone runs
# what is the same under each: arithmetic of arrays, which digests hold; CUDA text; Ray; programs beside
# ours (browser, PostgreSQL, S3, R, spreadsheet); published oracles; reports; the long ways over HTTP.
# Environments are made one after the other, because all write into the checkout; with `make -j2` the
# suites run side by side.
ON_EACH := tests/kernels tests/ihp_compute/test_digests.py tests/ihp_compute/contracts
ON_NEWEST := $(ON_EACH) tests/ihp_compute/ingest tests/cluster tests/api
SAME_ON_EACH := service or ray or cuda_text or shared or beside
LONG_WAYS := pages test_compared.py test_conformance.py test_open_form_commands.py test_opened.py test_reports.py
test-others: $(STAMP)
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	found=$$(requirements/interpreters.sh); \
	echo "tests of Python $$own stand in $(VENV); interpreters found:"; echo "$$found"; \
	others=$$(echo "$$found" | awk -v own="$$own" '$$2 == "tested" && $$1 != own { print $$1 }'); \
	for version in $$others; do \
	    python=$$(echo "$$found" | sed -n "s/^$$version tested //p"); \
	    $(MAKE) setup VENV="$(VENV)-$$version" PYTHON="$$python" </dev/null || exit 1; \
	done; \
	newest=$$(echo "$$others" | head -n 1); \
	[ -z "$$others" ] || $(MAKE) --keep-going NEWEST="$$newest" $$(printf 'suite-of-%s ' $$others)

# One suite of `test-others`, told when it has ended, so that several are not mixed.
suite-of-%:
	@told="$(VENV)-$*/tests.log"; \
	[ "$*" = "$(NEWEST)" ] && what="$(ON_NEWEST)" || what="$(ON_EACH)"; \
	if $(VENV)-$*/bin/python -m pytest -m "not ($(SAME_ON_EACH))" $$what \
	    $(LONG_WAYS:%=--ignore tests/api/%) -o cache_dir="$(VENV)-$*/pytest-cache" >"$$told" 2>&1 </dev/null; \
	then how=passed; else how=FAILED; fi; \
	echo "Python $*: $$how"; cat "$$told"; [ "$$how" = passed ]

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/house_picture.py

# ARCHITECTURE.md's picture of the packages, drawn anew from the imports.
picture: $(STAMP)
	$(BIN)/python tests/house_picture.py --write

# What the pages of the method repeat of terms, tables, findings and codes.
pages: $(STAMP)
	$(BIN)/python tests/method_pages.py --write

# The site of `docs/`, into build/docs, where the service finds it; a warning is an error. It wants
# packages of its own, which nothing else does.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/docs.txt
	$(BIN)/python -m sphinx --builder html --quiet --fail-on-warning --keep-going --fresh-env docs build/docs
	@echo "build/docs/index.html"

bench: $(STAMP)
	$(BIN)/python -m benchmarks

bench-compare: $(STAMP)
	$(BIN)/python -m benchmarks --compare $(BASE)

# Faults by a seed, which is printed; see tests/faults/README.md. FAULTS=0 lets every write fail once.
chaos: $(STAMP)
	$(BIN)/python -m tests.faults.chaos $(or $(SEED),any) $(or $(FAULTS),50)

gpu-check:
	$(GPU_PYTHON) -m benchmarks.gpu

serve: $(STAMP)
	$(BIN)/ihp serve

# Refreshes the pins where they no longer fit: hashes, every supported Python, and no registry host.
# `make lock UPGRADE=--upgrade` takes the newest of everything.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --extra cluster --extra service --extra postgres --extra peers --extra workbook --extra dev --constraints requirements/constraints.in $(UPGRADE) \
	    pyproject.toml -o requirements/all.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --extra docs --constraints requirements/all.txt $(UPGRADE) pyproject.toml -o requirements/docs.txt
	for image in service: gpu:--extra=gpu-cu12; do \
	    $(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header \
	        --extra cluster --extra service --extra postgres --extra workbook $${image#*:} --constraints requirements/all.txt $(UPGRADE) \
	        pyproject.toml -o requirements/$${image%%:*}.txt || exit 1; \
	done
	printf 'setuptools<81\nwheel\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header $(UPGRADE) - -o requirements/build.txt

clean:
	rm -rf $(VENV) $(VENV)-3.* out build *.egg-info
