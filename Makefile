# Everything here works on a fresh machine with only Python (3.11 or newer, with venv) and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow check format clean

demo: .venv/installed
	$(BIN)/zoo transfer --reuse 3 --freeze 2

# Two processes: more would each hold TensorFlow and models in memory. Who has no test left takes some of the other's.
test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

# mypy sees an installed copy: the folders converters/ and cli/ are zoo.converters and zoo.cli only there.
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/installed
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/installed .
	cd build/installed && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p zoo
	$(BIN)/python -m pytest tests/zoo/test_package.py -k imports_go_down

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt setuptools wheel
	$(BIN)/pip install --progress-bar off --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
