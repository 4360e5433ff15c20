# Every target makes its own virtual environment (.venv) on first use and installs the pinned versions of requirements.lock.
# Needs Python 3.11 or newer, make and git; nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=
# Test processes. Each has a broker of its own; files are dealt out whole, so that what one shares is made once.
JOBS   ?= 3
# Rivals with packages, and so environments, of their own.
PEERS  := quix faust faststream
# What torch asks for and a CPU never loads, or the ordinary environment has.
UNLOADED := triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cuda-cccl nvidia-cusolver nvidia-nvtx setuptools \
	typing-extensions

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch test-mlflow test-mlserver test-bentoml test-triton lint format docs bench bench-peers chaos soak lock clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## a real Kafka, a model, real events, anomalies as they are scored (ARGS="--help" for options)
	@$(BIN)/stream-infer demo $(ARGS)

test: $(READY) ## all tests, on a real Kafka (ARGS="tests/unit" for those that need none)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-torch: $(READY) ## the tests that train with torch, in an environment of their own (.venv-torch, 4 GB once in the cache)
	@$(BIN)/python tests/torch/environment.py
	.venv-torch/bin/python -m pytest tests/torch $(ARGS)

test-mlflow: $(READY) .venv-mlflow/.ready ## the model registry against a real MLflow server (.venv-mlflow, 0.7 GB)
	MLFLOW_PROGRAM=.venv-mlflow/bin/mlflow $(BIN)/python -m pytest tests/kafka/test_mlflow.py $(ARGS)

test-mlserver: $(READY) .venv-mlserver/.ready ## a model that a real MLServer runs, over HTTP and gRPC (.venv-mlserver, 0.5 GB)
	MLSERVER_PROGRAM=.venv-mlserver/bin/mlserver $(BIN)/python -m pytest tests/kafka/test_model_server.py $(ARGS)

test-bentoml: $(READY) .venv-bentoml/.ready ## a model that a real BentoML server runs (.venv-bentoml, 0.3 GB)
	BENTOML_PROGRAM=.venv-bentoml/bin/bentoml $(BIN)/python -m pytest tests/kafka/test_model_server.py $(ARGS)

test-triton: $(READY) .venv-triton/.ready ## a model that a real Triton runs on the CPU, over HTTP and gRPC (.venv-triton, 0.3 GB)
	TRITON_ENVIRONMENT=.venv-triton $(BIN)/python -m pytest tests/kafka/test_model_server.py $(ARGS)

.venv-%/.ready: requirements-%.lock
	@echo "installing $* into .venv-$* (once, a minute)"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv-triton/.ready: requirements-triton.lock
	@echo "installing Triton into .venv-triton (once, a minute)"
	@$(PYTHON) -m venv .venv-triton
	@.venv-triton/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-triton.lock
	@touch $@

lint: $(READY) ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## write the generated pages anew from the code
	$(BIN)/python -m stream_infer.docs

bench: $(READY) ## throughput, latency, idle, restore beside a plain confluent-kafka + fastavro loop (under six minutes)
	$(BIN)/python -m load bench $(ARGS)

bench-peers: $(READY) $(PEERS:%=.venv-peers/%/.ready) ## the same events beside Quix, faust, FastStream; Kafka Streams where a JDK is
	$(BIN)/python -m load peers $(ARGS)

.venv-peers/%/.ready: load/peers/%.lock
	@echo "installing $* into .venv-peers/$* (once)"
	@$(PYTHON) -m venv .venv-peers/$*
	@.venv-peers/$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

chaos: $(READY) ## fault tests in their long form: rounds over all scenarios (ARGS="--minutes 60", --help for options)
	$(BIN)/python -m tests.chaos rounds $(ARGS)

soak: $(READY) ## one long run of all faults; memory must stay flat (ARGS="--minutes 60")
	$(BIN)/python -m tests.chaos soak $(ARGS)

lock: $(READY) ## pin the newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --upgrade --no-header --quiet \
		--python-version 3.11 --extra train --extra embedded --extra compare --extra dev -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header --quiet \
		--python-version 3.11 --constraints requirements.lock -o requirements-runtime.lock
	echo 'torch>=2.10' | $(BIN)/uv pip compile - --universal --generate-hashes --no-header --quiet \
		--python-version 3.11 --constraints requirements.lock $(UNLOADED:%=--no-emit-package %) -o requirements-torch.lock
	echo 'mlflow==3.17.2' | $(BIN)/uv pip compile - --universal --generate-hashes --no-header --quiet \
		--python-version 3.11 -o requirements-mlflow.lock
	printf 'mlserver==1.7.1\nonnxruntime>=1.22\n' | $(BIN)/uv pip compile - --universal --generate-hashes --no-header \
		--no-annotate --quiet --python-version 3.11 -o requirements-mlserver.lock
	printf 'bentoml==1.4.40\nonnxruntime>=1.22\n' | $(BIN)/uv pip compile - --universal --generate-hashes --no-header \
		--no-annotate --quiet --python-version 3.11 -o requirements-bentoml.lock
	printf 'nvidia-pytriton==0.7.0\nnumpy<2\nonnxruntime>=1.22\n' | $(BIN)/uv pip compile - --no-deps --universal \
		--generate-hashes --no-header --no-annotate --quiet --python-version 3.11 -o requirements-triton.lock
	for peer in $(PEERS); do $(BIN)/uv pip compile load/peers/$$peer.in --universal --generate-hashes --no-header \
		--quiet --python-version 3.11 -o load/peers/$$peer.lock; done
	echo 'hatchling>=1.27' | $(BIN)/uv pip compile - --universal --generate-hashes --no-header --quiet \
		--python-version 3.11 --constraints requirements.lock -o requirements-build.lock

clean: ## remove the virtual environment and everything made here
	rm -rf $(VENV) .venv-torch .venv-mlflow .venv-mlserver .venv-bentoml .venv-triton .venv-peers build dist models load/results .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stream-infer needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "installing into $(VENV) (first use, a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
