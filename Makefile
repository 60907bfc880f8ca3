# `make run` and `make test` do all the set-up themselves, in .venv; see the README.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check tests bench faults fuzz soak clients pictures demo demo-headless clean

# A proxy and the terminal UI on the default store; without a terminal the proxy alone.
run: $(VENV)/.installed
	@$(BIN)/flowtap --proxy

test: check tests

check: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/.developing
	$(BIN)/pytest

bench: $(VENV)/.developing
	$(BIN)/python -m tests.bench

# Every row of docs/faults.md at length, and the page anew; as root more of them can be played.
faults: $(VENV)/.developing
	$(BIN)/python -m tests.faults

# What reads the store's files, fed by coverage for a minute where atheris is installed.
fuzz: $(VENV)/.developing
	$(BIN)/python -m tests.store.fuzz

# A proxy under bounded load for an hour; SOAK_MINUTES=2 make soak for less.
soak: $(VENV)/.developing
	$(BIN)/python -m tests.soak

# Real clients, installed in .clients; docs/clients.md is made anew when all of them were there.
clients: $(VENV)/.developing
	$(BIN)/python -m tests.clients

demo: $(VENV)/.installed
	@$(BIN)/flowtap demo

demo-headless: $(VENV)/.installed
	@$(BIN)/flowtap demo --headless

$(VENV)/.python: .ci/python
	@python=$$(sh .ci/python) || exit 1; \
	if [ -x $(BIN)/python ] && $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
		touch $@; \
	else \
		echo "making $(VENV) with $$python"; \
		"$$python" -m venv --clear $(VENV) && touch $@; \
	fi

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt addon/startup.pth
	@echo "installing flowtap into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) --group dev
	@touch $@

# PNGs of the UI over the demo, through Chromium.
pictures: $(VENV)/.developing
	$(BIN)/python -m tests.pictures

clean:
	rm -rf $(VENV) .clients build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
