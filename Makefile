# Everything runs in .venv, which the targets make when it is missing or older than the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPHINX := $(BIN)/python -m sphinx -W -n -q --keep-going
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
# Pure code, and what needs no process beside it; two at a time.
FAST_TESTS := tests/architecture tests/unit tests/property
# These start brokers, API servers, browsers, whole cities; three files at a time, as they wait more than they compute.
PROCESS_TESTS := tests/contract tests/integration tests/hostile tests/e2e

.PHONY: help demo test soak check bench kernel system-deps manifests docs docs-tables docs-catalogues catalogues pictures page-images architecture-image agent-archive lock clean
.DEFAULT_GOAL := help
# Tests and the demo start hundreds of processes. Where no bytecode is kept, each of them compiles every
# module again, which takes most of its start.
demo test soak bench pictures page-images: export PYTHONDONTWRITEBYTECODE :=

# What is missing on a bare machine, each in one sentence with the way out.
define CHECK_PYTHON
command -v $(PYTHON) >/dev/null || { echo 'Kapok needs Python 3.11 or newer, and there is no $(PYTHON): install it (Debian, Ubuntu: apt-get install python3 python3-venv), or name another one with make PYTHON=/path/to/python' >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kapok needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'): install a newer one beside it, and name it with make PYTHON=python3.11" >&2; exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments, because Debian and Ubuntu keep that in a package of its own: apt-get install python3-venv" >&2; exit 1; }
endef

help:  ## what there is
	@echo 'Kapok: make TARGET [ARGS="..."]'
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# Its words go to stderr: the targets' own output may be one JSON object.
$(STAMP): requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || { $(CHECK_PYTHON); }
	@echo 'setting up $(VENV)' >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@$(PIP) --require-hashes -r requirements-dev.lock >&2
	@$(PIP) --no-deps --no-build-isolation -e . >&2
	@touch $@

# It looks itself whether the source is newer than what is built: file times say little after a checkout.
kernel: $(STAMP)  ## builds the compiled part of decisions, where there is a C compiler
	@$(BIN)/python build_kernel.py

demo: kernel  ## sets up and runs the demo (ARGS="--exit-when-settled -o json")
	@$(BIN)/kapok demo $(ARGS)

test: kernel  ## sets up and passes the tests: the gate, at most 10 minutes
	$(MAKE) check
	$(BIN)/python -m pytest -n 2 $(FAST_TESTS) $(ARGS)
	$(BIN)/python -m pytest -n 3 --dist loadfile $(PROCESS_TESTS) $(ARGS)

soak: kernel  ## all examples, then the long scenarios with full counts, one JSON line each
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=full --timeout=3600 tests/unit tests/property $(ARGS)
	$(BIN)/python -m pytest -m soak --hypothesis-profile=full -s --timeout=3600 $(ARGS)

check: $(STAMP)  ## linter, formatter, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: kernel  ## every benchmark, one JSON object each
	$(BIN)/python -m benchmarks all --json $(ARGS)

manifests: $(STAMP)  ## writes manifests/crds from the Python types, and the Helm chart from kustomize
	$(BIN)/python -m scheduler.hub.crds.generate manifests/crds
	$(BIN)/python -m tests.support.helm_chart

docs: $(STAMP)  ## builds the site of documents in English and Chinese: build/docs
	$(SPHINX) -b html docs build/docs/en
	$(SPHINX) -b html -D language=zh_CN docs build/docs/zh

docs-catalogues: $(STAMP)  ## brings new sentences of translated pages into docs/locale, and lists them
	$(BIN)/python -m tests.support.page_catalogues

docs-tables: $(STAMP)  ## writes the tables of docs/ that come from the code
	$(BIN)/python -m tests.support.docs_tables

catalogues: $(STAMP)  ## writes the messages of the English catalogue from the code
	$(BIN)/python -m tests.support.catalogues

pictures: page-images architecture-image  ## makes every picture of docs/images that shows the page or the architecture

architecture-image: $(STAMP)  ## draws docs/images/architecture.svg from the imports of the code
	$(BIN)/python -m tests.support.architecture_picture

page-images: kernel  ## takes the pictures of the page in docs/images, from a running demo
	$(BIN)/python -m tests.support.page_images docs/images

system-deps:  ## Debian packages that the whole gate needs (root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto iproute2 fonts-wqy-microhei debootstrap
	# Its own cluster would start where there is an init system; tests make and start their own.
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	  || RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
	# Ubuntu has no package of this name; the machines of forges bring both programs.
	command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver
	# prometheus: its service would start where there is an init system; tests start their own.
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus
	# For the kernel. Debian's headers serve Debian's Python; any other brings its own.
	command -v cc >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev
	test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
	  || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-dev

agent-archive: $(STAMP)  ## dist/: kapok-agent for machines without network (ARGS="--architecture aarch64")
	@$(BIN)/python -m agents.upgrade.build $(ARGS)

lock: $(STAMP)  ## resolves the hashed locks anew; they hold no address
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --no-header --generate-hashes --extra hub --extra ha --extra test --extra build --extra docs pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --no-header --generate-hashes --extra hub pyproject.toml -o requirements-hub.lock
	$(BIN)/uv pip compile -q --no-header --generate-hashes --extra hub --extra ha pyproject.toml -o requirements-ha.lock
	$(BIN)/uv pip compile -q --no-header --generate-hashes pyproject.toml -o requirements-agent.lock

clean:  ## removes what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build
	rm -f scheduler/placement/kernel/kernel*.so scheduler/placement/kernel/kernel*.so.*
