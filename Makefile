# zonegate: everything a newcomer runs. `make help` lists it. No target needs root; where a Debian package is missing and
# apt may not be used, the package is named and the tests that need it say "not run".

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON := $(BIN)/python
# Tools fetched for the tests are put beside the venv's own.
export PATH := $(CURDIR)/$(BIN):$(PATH)
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo lab test check format proto lock stress bench clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(VENV)/.installed: requirements.lock requirements-dev.lock pyproject.toml tools/make_venv.sh
	@sh tools/make_venv.sh

$(VENV)/.tools: $(VENV)/.installed tools/debian_tools.sh
	@sh tools/debian_tools.sh

demo: $(VENV)/.installed ## run the whole story in separate processes, and check every act of it
	@$(BIN)/zonegate demo

test: $(VENV)/.tools ## run the tests (under 6 minutes on 2 cores)
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal --durations 10; status=$$?; cat $(VENV)/.tools-missing; exit $$status

check: $(VENV)/.tools ## style, types, import directions, generated code, README: no tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p zonegate
	$(BIN)/mypy tools
	$(BIN)/lint-imports --no-cache
	$(PYTHON) tools/proto.py --check
	$(PYTHON) tools/readme.py --check
	$(PYTHON) tools/conformance.py --check
	$(BIN)/zonegate reasons --json >/dev/null

format: $(VENV)/.installed ## put the sources in the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(PYTHON) tools/readme.py
	$(PYTHON) tools/conformance.py

proto: $(VENV)/.installed ## compile the .proto files into the modules beside them
	$(PYTHON) tools/proto.py

lock: $(VENV)/.installed ## choose the newest versions that pyproject.toml allows, anew
	sh tools/lock.sh

stress: $(VENV)/.tools ## long runs; writes docs/stress.md
	@mkdir -p out
	$(BIN)/pytest -q -m stress -n 0 --junitxml out/stress.xml; status=$$?; \
	$(PYTHON) tools/stress_report.py out/stress.xml docs/stress.md; exit $$status

bench: $(VENV)/.tools ## measure: CPU per crossing beside Envoy, SM2 beside openssl; writes docs/bench.md
	$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-bench.lock
	$(PYTHON) bench/run.py

clean: ## remove what was built, cached and measured here
	rm -rf build dist out bench/out lab .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf src/*.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf $(VENV)
