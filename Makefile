# make quickstart   a first sweep, from nothing to its front
# make test         everything that has to hold before a change is merged
# make faults       every fault there is a test for, on the real Ray, SQLite and MLflow, also those that take long, and clusters
# make check        the same as make test without the slow tests (Ray)
# make lowest       the fast tests with the lowest versions that pyproject.toml admits, in an environment of their own
# make browser      a Chromium for the tests that look at pages, where there is none; they are skipped without one
# make docs        the documentation as a site, in build/site; installs what that needs when it is first asked for
# make release      wheel and source distribution in dist/, checked and tried in a fresh environment; publishes nothing
# make benchmark    the benchmark scripts, and what each one measures
# make clean        remove the environment and every cache; finished sweeps stay

PYTHON ?= python3
BIN := .venv/bin
# Two files at a time, since most slow tests wait for Ray; files with slow tests come first, see tests/conftest.py.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Compiled code is kept, whatever the environment says: each process that a test starts would compile it anew.
export PYTHONDONTWRITEBYTECODE :=
# Written when the environment is complete, so that an interrupted installation is taken up again: for sweeps, and for
# everything else as well.
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
# What an installation is made from.
SOURCES := pyproject.toml constraints.txt hatch_build.py install.py \
	$(wildcard model/native/*.c model/native/*.h model/native/build.py)
LOWEST := .venv-lowest
DOCS_STAMP := .venv/.installed-docs

# Installs with these extras, by the environment's own Python once there is one.
INSTALL = @python=$(BIN)/python; test -x $$python || python="$(PYTHON)"; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "sweeper needs Python 3.11 or newer, but $$python is $$($$python --version 2>&1)." \
			"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }; \
	$$python install.py

.DEFAULT_GOAL := check
.PHONY: quickstart test faults check lint lowest browser docs release benchmark clean

$(STAMP): $(SOURCES)
	$(INSTALL)
	@touch $@

$(DEV_STAMP): $(SOURCES)
	$(INSTALL) dev
	@touch $(STAMP) $@

quickstart: $(STAMP)
	$(BIN)/sweeper run quickstart

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(TESTS) -m "not rare"

# Every file with a test that is marked `rare`, as tests/test_suite.py makes sure.
faults: $(DEV_STAMP)
	$(TESTS) tests/faults tests/cluster tests/checks/test_doctor.py tests/cli/test_ui.py tests/cli/test_watch.py tests/driver/test_again.py tests/ledger/test_postgres.py \
		tests/execution/test_ray_private.py tests/results/test_plots.py \
		tests/test_benchmarks.py tests/test_distribution.py tests/docs/test_examples.py

check: lint
	$(TESTS) -m "not slow and not rare"

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install -c constraints-lowest.txt -e ".[dev]"
	@touch $@

lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not rare"

browser:
	@if test -n "$$BROWSER_PATH$$(command -v chromium || command -v chromium-browser || command -v google-chrome)"; \
	then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null \
			|| echo "Chromium could not be installed: tests of pages will be skipped." >&2; \
	else echo "There is no Chromium or Chrome here: install one, or tests of pages are skipped." >&2; fi

$(DOCS_STAMP): $(DEV_STAMP)
	$(INSTALL) dev docs
	@touch $@

# Strict: a link that leads nowhere, or a page without a place in the contents, ends it. Nothing is fetched.
docs: $(DOCS_STAMP)
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet --clean
	@echo "The documentation is in build/site: open build/site/index.html (its search needs a server, such as" \
		"$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site)"

release: $(DEV_STAMP)
	$(INSTALL) dev release
	$(BIN)/python release.py dist

benchmark: $(DEV_STAMP)
	@echo "Run one with $(BIN)/python, from here:"
	@for script in benchmarks/*.py; do echo "  $$script"; sed -n '1s/^"""/      /p' "$$script"; done
	@echo "benchmarks/README.md says how, and holds the results."

clean:
	rm -rf .venv $(LOWEST) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
