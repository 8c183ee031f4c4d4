# Everything a newcomer needs; each target sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint wheel bench-peers clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,train]'
	touch $@

demo: setup
	$(BIN)/docpipe demo --out demo

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/flake8 glimpseprune pipeline jobs

wheel: setup
	$(BIN)/python -m build --no-isolation --outdir dist .

# docpipe against vLLM and OpenVINO GenAI, each in an environment of its own. PEERS holds flags of
# benchmarks/peers/compare.py.
bench-peers: setup
	$(PYTHON) benchmarks/peers/setup.py vllm .venv-peers
	$(PYTHON) benchmarks/peers/setup.py openvino .venv-openvino
	$(BIN)/python benchmarks/peers/compare.py --out bench-peers $(PEERS)

clean:
	rm -rf $(VENV) .venv-peers .venv-openvino bench-peers demo build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
