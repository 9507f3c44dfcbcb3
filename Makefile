# Everything runs from .venv, which the first command that needs it makes: `make` alone lists the commands.
.DEFAULT_GOAL := help
.PHONY: help install demo dashboard notebooks test check bench
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
EXTRAS := dev,text,export
# The first of these that runs and is Python 3.11 or later builds .venv; `make PYTHON=/path/to/python` names another.
PYTHON := python3.13 python3.12 python3.11 python3
NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# Jupyter Lab shows the table of contents as a page, and asks nothing of the network.
JUPYTER_SETTINGS := {"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}}, \
	"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## train a network that grows and watch it in the browser (HEADLESS=1: without the page)
	@$(BIN)/lab demo $(if $(filter-out 0,$(HEADLESS)),--headless)

dashboard: $(STAMP) ## open the dashboard on the runs that are there
	@$(BIN)/lab dashboard

notebooks: $(STAMP) ## open the lessons in Jupyter Lab
	@$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/README.md

test: $(STAMP) ## run all tests and notebooks
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP) ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP) ## list the benchmarks (NAME=supernet: run that one)
	@$(BIN)/lab bench $(if $(NAME),$(NAME),--help)

install: $(STAMP) ## make .venv and install the lab, nothing else

# Installed again only when pyproject.toml has changed.
$(STAMP): pyproject.toml
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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '$(JUPYTER_SETTINGS)' > $(VENV)/share/jupyter/lab/settings/overrides.json
	@touch $@
