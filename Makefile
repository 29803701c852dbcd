# Each target does all of its set-up, in a virtual environment of its own: make demo, make test, make docs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# On Linux pip takes torch's CUDA build, some GB; for the CPU build alone install torch into $(VENV) first.
INSTALLED := $(VENV)/.installed
# TensorFlow Privacy's attacks need older packages than everything else; here they are installed without TensorFlow.
VENV_TF ?= .venv-tf-privacy
INSTALLED_TF := $(VENV_TF)/.installed

.PHONY: demo test test-tf-privacy lint docs clean

demo: $(INSTALLED)
	rm -rf results/demo
	$(BIN)/python benchmarks/cl_cifar100.py --dataset digits --steps 5 --output results/demo/cl
	$(BIN)/python benchmarks/mia.py --dataset digits --images-per-class 5 --train-steps 100 500 2000 --frepo-steps 500 \
		--output results/demo/mia

# A process for each core; torch's threads of two of them would wait for each other.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# pytest fails when all of it is skipped, and the line before says what is missing.
test-tf-privacy: $(INSTALLED_TF)
	$(VENV_TF)/bin/python -c 'from privacy.tf_privacy import check_official; check_official()'
	OMP_NUM_THREADS=1 $(VENV_TF)/bin/python -m pytest -c tests/tf_privacy/pytest.ini -n auto --dist worksteal tests/tf_privacy

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, in site/; every warning is an error. The variable silences a notice about MkDocs 2.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version) if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(INSTALLED)

$(INSTALLED_TF): tests/tf_privacy/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("TensorFlow Privacy needs Python 3.10 or 3.11, this is " + sys.version.split()[0] + ": make test-tf-privacy PYTHON=python3.11") if not (3, 10) <= sys.version_info < (3, 12) else None'
	$(PYTHON) -m venv $(VENV_TF)
	$(VENV_TF)/bin/python -m pip install --quiet --upgrade pip
	$(VENV_TF)/bin/python -m pip install --quiet --requirement tests/tf_privacy/requirements.txt
	$(VENV_TF)/bin/python -m pip install --quiet --no-deps tensorflow-empirical-privacy==0.1.0
	touch $(INSTALLED_TF)

clean:
	rm -rf $(VENV) $(VENV_TF) results/demo site
