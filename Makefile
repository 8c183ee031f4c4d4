# Everything a newcomer needs; each target sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CALIBRATE_PAGES := 40

.PHONY: setup demo test lint wheel tabulator bench-peers calibrate-nano clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,train,calibrate]'
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
	cp constraints.txt dist/

# The table of `docpipe report`, from its npm package; the repository holds it, so only another version needs this.
TABULATOR := pipeline/viewing/report/tabulator

tabulator:
	npm pack --silent --pack-destination $(TABULATOR) tabulator-tables@6.5.3
	cd $(TABULATOR) && tar -xzf tabulator-tables-*.tgz --strip-components=1 package/LICENSE
	cd $(TABULATOR) && tar -xzf tabulator-tables-*.tgz --strip-components=3 \
		package/dist/js/tabulator.min.js package/dist/css/tabulator_simple.min.css
	rm $(TABULATOR)/tabulator-tables-*.tgz
	cd $(TABULATOR) && sha256sum --check SHA256SUMS

# docpipe against vLLM and OpenVINO GenAI, each in an environment of its own. PEERS holds flags of
# benchmarks/peers/compare.py.
bench-peers: setup
	$(PYTHON) benchmarks/peers/setup.py vllm .venv-peers
	$(PYTHON) benchmarks/peers/setup.py openvino .venv-openvino
	$(BIN)/python benchmarks/peers/compare.py --out bench-peers $(PEERS)

# The calibration of nano, which new weights need. The seeds are neither those of its training nor those it is measured on.
calibrate-nano: setup
	for family in known open; do \
		$(BIN)/docpipe samples --out calibrate-nano/$$family --family $$family --documents $(CALIBRATE_PAGES) --seed 310; \
	done
	$(BIN)/docpipe calibrate --data calibrate-nano/known --data calibrate-nano/open --out pipeline/nano/glimpse/calibration.json

clean:
	rm -rf $(VENV) .venv-peers .venv-openvino bench-peers calibrate-nano demo build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
