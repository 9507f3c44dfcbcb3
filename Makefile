# Everything runs from .venv, which the first command that needs it makes: `make` alone lists the commands.
.DEFAULT_GOAL := help
.PHONY: help install demo dashboard notebooks test test-all check docs bench experiment supported check-latest constraints screenshots
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
EXTRAS := all
# The tested versions, unless LATEST=1 asks for the newest that pyproject.toml admits. Each way has its own stamp.
NEWEST := $(filter-out 0,$(LATEST))
STAMP := $(VENV)/installed$(if $(NEWEST),-latest)
VERSIONS := $(if $(NEWEST),--upgrade --upgrade-strategy eager,--constraint constraints.txt)
# tests/conftest.py has the order: the files that take longest come first.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
# The first of these that runs and is Python 3.11 or later builds .venv; `make PYTHON=/path/to/python` names another.
PYTHON := python3.13 python3.12 python3.11 python3
NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## train a network that grows and watch it in the browser (HEADLESS=1: without the page)
	@$(BIN)/lab demo $(if $(filter-out 0,$(HEADLESS)),--headless)

dashboard: $(STAMP) ## open the dashboard on the runs that are there
	@$(BIN)/lab dashboard

notebooks: $(STAMP) ## open the lessons in Jupyter Lab
	@$(BIN)/lab lessons

test: $(STAMP) ## run the tests and the lessons
	@$(BIN)/python -m pytest $(PARALLEL)

test-all: $(STAMP) ## the same with the long forms: whole models, every case, the wheel in an environment of its own
	@LAB_LARGE=1 $(BIN)/python -m pytest $(PARALLEL)

check: $(STAMP) ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(STAMP) ## build the site with the API pages into build/site; a broken link or name is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP) ## list the benchmarks (NAME=supernet: run that one)
	@$(BIN)/lab bench $(if $(NAME),$(NAME),--help)

experiment: $(STAMP) ## list the research questions (NAME=search: measure that one)
	@$(BIN)/lab experiment $(if $(NAME),$(NAME),--help)

supported: $(STAMP) ## run the fast tests on each supported torch and write docs/supported.md (ONLY="2.11 newest")
	@$(BIN)/python .ci/supported.py $(ONLY)

check-latest: $(STAMP) ## install the newest versions of everything anew, run the fast tests, say what broke
	@$(BIN)/python .ci/latest.py

screenshots: $(STAMP) ## pictures of every page and kind of run into build/screenshots (ONLY="wall-digits help": some)
	@$(BIN)/python .ci/screenshots.py $(ONLY)

constraints: $(STAMP) ## write the versions installed now as the tested ones
	@$(BIN)/python .ci/constraints.py

install: $(STAMP) ## make .venv and install the lab, nothing else (LATEST=1: the newest versions, not the tested ones)

# Installed again only when pyproject.toml or constraints.txt has changed, or the other way was installed since.
$(STAMP): pyproject.toml constraints.txt
	@if [ ! -x $(BIN)/python ]; then \
		for python in $(PYTHON); do \
			"$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && break; \
			python=; \
		done; \
		if [ -z "$$python" ]; then \
			echo "expected Python 3.11 or later with venv; came none among: $(PYTHON); install one," \
				"or name it: make PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		"$$python" -m venv $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV) - the first time takes some minutes and about 5 GB of disk (torch with its CUDA libraries)."
	@rm -f $(VENV)/installed $(VENV)/installed-latest
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(VERSIONS) --editable '.[$(EXTRAS)]' \
		|| { echo "the $(if $(NEWEST),newest,tested) versions do not install here; the other way:" \
			"$(if $(NEWEST),make install,LATEST=1 make install)" >&2; exit 1; }
	@touch $@
