# Two commands do everything: `make reproduce` and `make test`. Each target sets up .venv first when it is missing.
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3))
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PARAMS ?= params/demo.yaml
AGAINST ?= HEAD
VENV := .venv
READY := $(VENV)/.ready
PAPER := $(VENV)/.paper
STAND_INS := work/stand_ins
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup reproduce verify paper-tiny test slurm-test lint tables format

help:
	@echo "make reproduce   set up, then run the demo experiment: results/demo/ (50 to 60 minutes on 2 cores)"
	@echo "make verify      reproduce, then compare the scores with the published ones; fails where they did not come out again"
	@echo "make paper-tiny  the paper's experiment in small, end to end, on stand-ins for its corpora and networks"
	@echo "make test        set up, then run the tests, but for those on SLURM"
	@echo "make slurm-test  only the tests on a real SLURM of simulated nodes (needs root, slurmctld, slurmd, slurm-client and munge)"
	@echo "make lint        ruff, mypy, codespell, snakefmt and snakemake --lint"
	@echo "make tables      rebuild tables, figures and report from the stored scores alone"
	@echo "settings:        PARAMS=params/small.yaml AGAINST=HEAD~1 CORES=8 PYTHON=/path/to/python3.11"

setup: $(READY)

$(READY): requirements/lock.txt requirements/no-deps.txt requirements/fit_torchaudio.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else f"Python 3.11 is needed and this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/lock.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/no-deps.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(VENV)/bin/python requirements/fit_torchaudio.py
	touch $@

reproduce: $(READY)
	snakemake --cores $(CORES) --config params=$(PARAMS)

verify: reproduce
	agrepa verify --params $(PARAMS) --against $(AGAINST)

$(PAPER): requirements/paper.txt $(READY)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

$(STAND_INS)/.made: $(PAPER) $(addprefix tests/,stand_ins.py packing.py published_corpora.py tiny_networks.py) $(wildcard params/*.yaml)
	python tests/stand_ins.py
	touch $@

paper-tiny: $(STAND_INS)/.made
	AGREPA_CACHE=$(CURDIR)/$(STAND_INS)/cache snakemake --cores $(CORES) --config params=$(STAND_INS)/params/paper_tiny.yaml

tables: $(READY)
	agrepa rebuild --params $(PARAMS)

# Two processes, one thread each: most tests wait for jobs of one thread that they start. The paper's networks are tested too.
test: $(PAPER)
	OMP_NUM_THREADS=1 python -m pytest --numprocesses 2 -m "not slurm and not long" --durations=40

slurm-test: $(READY)
	python -m pytest -m slurm

lint: $(READY)
	ruff check src tests requirements benchmarks
	ruff format --check src tests requirements benchmarks
	mypy
	codespell src tests docs params workflow README.md CONTRIBUTING.md CHANGELOG.md
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

format: $(READY)
	ruff check --fix src tests requirements benchmarks
	ruff format src tests requirements benchmarks
	snakefmt Snakefile workflow/rules
