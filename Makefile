# What can be done here. Each target does its own set-up; python3 (3.11 or later) and make are enough.
#
#   make report                 train on the packaged GTZAN data under two splits -> a page, in two to four minutes
#   make report DATA=path       from sound: preprocess -> train -> evaluate -> a page, on a folder of tracks
#   make demo                   the same on the synthesised demo set
#   make notebooks              run the notebooks in place and render them; DATA=path for real data
#   make test                   lint, type-check, run the tests and the notebooks
#   make test-oldest            run the tests with the oldest versions that pyproject.toml allows
#   make test-nightly           the tests that take long: jobs killed at fifty moments each, folds on a cluster
#   make docs                   the documentation site, into site/
#   make bench DATA=path        speed and memory, on a folder of real tracks
#   make lint | format | clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OLDEST := .venv-oldest
GK     := $(BIN)/gtzan-keras
SPEC   ?= malvezzi-rgb224
EPOCHS ?= 40

DATA ?=
NAME   := $(notdir $(patsubst %/,%,$(DATA)))
STORE  := data/stores/$(NAME)-$(SPEC).h5
OUT    := reports/local

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 1
export MPLBACKEND ?= agg

# A file of tests, and a notebook, stays in one process; they start in the order of their names.
SHARED_OUT := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Where every core has a process of its own, the threads of TensorFlow and scikit-learn are in each other's way; and small
# networks, built by the hundred, would ask Linux for the same memory again and again.
ONE_CORE := TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=1 MALLOC_TOP_PAD_=134217728 MALLOC_MMAP_MAX_=0
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
LONGEST   := $(wildcard $(addprefix notebooks/,06_* 05_* 10_* 09_* 14_* 04_*))
# Kernels draw inline; the data that notebooks make is kept under data/.
KERNEL := MPLBACKEND= GTZAN_KERAS_CACHE=$(CURDIR)/data/notebooks IPYTHONDIR=$(CURDIR)/tests/ipython

.PHONY: help install report demo from-sound notebooks docs test tests-and-notebooks test-oldest test-nightly lint format bench clean

help:
	@sed -n '2,14s/^# \{0,2\}//p' Makefile

$(OLDEST)/bin/python: PYTHON := python3.11  # the oldest packages have no wheels for a later one
$(VENV)/bin/python $(OLDEST)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; run make with PYTHON=python3.11 or later"; exit 1; }
	$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[hub]'
	@touch $@

# The extra `test` has all that `hub` and `docs` have.
$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[test]'
	-@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null  # pip would use one core; templates do not compile
	@touch $(VENV)/installed $(VENV)/installed-docs $@

$(OLDEST)/installed: $(OLDEST)/bin/python pyproject.toml
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST) --resolution lowest-direct --editable '.[test]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

install: $(VENV)/installed

report: $(VENV)/installed
ifeq ($(DATA),)
	$(GK) quickstart --out $(OUT)
else
	$(MAKE) --no-print-directory from-sound
endif

demo: $(VENV)/installed
	$(GK) demo data/demo
	$(MAKE) --no-print-directory from-sound DATA=data/demo

from-sound:
	$(GK) tracks $(DATA) --verify
	$(GK) preprocess $(DATA) $(STORE) --spec $(SPEC)
	$(GK) train $(STORE) --out $(OUT)/$(NAME)-cnn --epochs $(EPOCHS)
	@echo "All runs so far: $$($(GK) report $(OUT))"
	@echo "This run's page: $$($(GK) report $(OUT)/$(NAME)-cnn)"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(wildcard notebooks/*.ipynb),$(BIN)/nbqa mypy notebooks)

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The type checker uses one core, so the first tests run beside it.
test: $(VENV)/installed-test
	@$(MAKE) --no-print-directory --jobs=2 lint tests-and-notebooks

tests-and-notebooks: $(VENV)/installed-test
	$(ONE_CORE) $(BIN)/python -m pytest $(SHARED_OUT)
	$(ONE_CORE) $(KERNEL) GTZAN_KERAS_DATA= $(BIN)/python -m pytest $(SHARED_OUT) --nbval --nbval-cell-timeout=600 -p no:cacheprovider \
	  $(LONGEST) $(filter-out $(LONGEST),$(NOTEBOOKS))

test-nightly: $(VENV)/installed-test
	$(BIN)/python -m pytest $(SHARED_OUT) -m nightly

# Old versions warn about changes in packages that are newer than they are.
test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest $(SHARED_OUT) -W default --disable-warnings

notebooks: $(VENV)/installed-test
	$(KERNEL) GTZAN_KERAS_DATA=$(if $(DATA),$(abspath $(DATA))) \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace $(NOTEBOOKS)
	$(BIN)/python -m tests.normalise_notebooks $(NOTEBOOKS)
	$(BIN)/jupyter nbconvert --to html --output-dir reports/notebooks $(NOTEBOOKS)

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The site: site/index.html"

bench: $(VENV)/installed-test
	@test -n "$(DATA)" || { echo "error: name a folder of real tracks: make bench DATA=path"; exit 1; }
	$(BIN)/python -m tests.benchmarks $(DATA)

clean:
	rm -rf $(VENV) $(OLDEST) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
