# make demo, make test: everything a newcomer needs. ARGS are passed on:
#   make demo ARGS='--rounds 5 --json out.json'
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# a warning of setuptools about editable installations says nothing we could change
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check fuzz audit sbom clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo
	$(BIN)/edgefed demo $(ARGS)

# the slow ones: make test ARGS='-m slow'
test: $(VENV)/.dev
	@tools/system_package mosquitto
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# every parser against broken inputs: make fuzz ARGS='--jobs 2 --record'
fuzz: $(VENV)/.demo
	$(BIN)/python -m tools.fuzz $(ARGS)

# needs the network: known vulnerabilities of what is installed; bills of materials
audit: $(VENV)/.demo .venv-audit/.done
	$(BIN)/python -m tools.audit --tool .venv-audit/bin/pip-audit $(ARGS)

sbom: $(VENV)/.demo .venv-audit/.done
	$(BIN)/python -m tools.sbom --tool .venv-audit/bin/cyclonedx-py $(ARGS)

bench-%: $(VENV)/.demo
	$(BIN)/python -m tools.bench_$* $(ARGS)

$(BIN)/python:
	@tools/make_venv $(PYTHON) $(VENV)

.venv-audit/.done:
	@tools/make_venv $(PYTHON) .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check --quiet install \
		'pip-audit>=2.9,<3' 'cyclonedx-bom>=7,<8'
	@touch $@

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "installing edgefed and what the demo needs into $(VENV) (once, about a minute)"
	$(PIP) install --editable '.[demo]'
	$(BIN)/python tools/settle_libraries.py $(VENV)
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "installing edgefed and what its tests need into $(VENV) (once, some minutes)"
	$(PIP) install --editable '.[dev]'
	$(BIN)/python tools/settle_libraries.py $(VENV)
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .venv-peer .venv-audit build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
