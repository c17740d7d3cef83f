# make run     the page on this machine (PORT=8000 chooses a port)
# make test    everything the tests need, then the tests (T=tests/unit -k name: some of them)
# make check   linters, types, formats          make fmt    puts the formats right
# make build   the static site in build/site    make clean  removes what was made here, downloads included

VENV := .venv
BIN := $(VENV)/bin
# What the installed package depends on: the rest of it is read from the checkout.
INSTALLS := pyproject.toml build_scripts/build_hook.py py_rwkv/tokenizer/vocabulary.py py_rwkv/__init__.py

.PHONY: run build test test-setup check fmt lock clean

run: $(VENV)/.run
	$(BIN)/py-rwkv serve $(if $(PORT),--port $(PORT))

build: $(VENV)/.run
	$(BIN)/py-rwkv build build/site

# Two files at a time. Browsers come second and by themselves: Playwright keeps an event loop running in the process that used it.
test: $(VENV)/.dev test-setup
ifdef T
	$(BIN)/python -m pytest $(T)
else
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/gpu
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/firefox tests/browser
endif

test-setup:
	@build_scripts/setup_tests.sh

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python build_scripts/check_js.py

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python build_scripts/check_js.py --write

lock:
	cd build_scripts && uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q requirements-dev.in -o ../requirements-dev.txt
	sed -i '1i # From build_scripts/requirements-dev.in by `make lock`.' requirements-dev.txt

clean:
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis py_rwkv/tokenizer/world.bin

$(BIN)/python:
	@build_scripts/venv.sh $(VENV)

$(VENV)/.run: $(INSTALLS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(INSTALLS) requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-compile --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
