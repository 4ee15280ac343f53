# Everything is one command away; `make help` lists them. Nothing needs to be installed by hand.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
STAMP := .venv/.set-up

.PHONY: help setup serve test test-full lint format screenshots lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with all that is needed, .venv/bin/dual-mode among it

$(STAMP): pyproject.toml requirements.txt scripts/setup
	@scripts/setup
	@touch $@

serve: $(STAMP)  ## run the service (PORT=8000)
	@exec $(BIN)/dual-mode serve $(if $(PORT),--port $(PORT))

test: $(STAMP)  ## all tests but the long ones, under five minutes
	@scripts/system-packages
	$(BIN)/pytest

test-full: $(STAMP)  ## all tests, the long ones too, under thirty minutes
	@scripts/system-packages
	$(BIN)/pytest -m "full or not full"

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: $(STAMP)  ## draw docs/playground.png from the running service
	@scripts/system-packages
	$(BIN)/python scripts/screenshots.py

lock: $(STAMP)  ## pin the newest versions of all dependencies in requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --all-extras --no-emit-index-url \
	  --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	  --python-version 3.11 pyproject.toml -o requirements.txt

clean:  ## remove what the other commands have made
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
