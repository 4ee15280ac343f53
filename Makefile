# Everything is one command away; `make help` lists them. Nothing needs to be installed by hand.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
STAMP := .venv/.set-up
BENCH := .venv-bench/.set-up
DOCS := .venv-docs/.set-up
UI := .venv-ui/.set-up

.PHONY: help setup serve chat examples examples-list exercises test test-full lint format docs bench \
	bench-quick bench-operators bench-chats bench-stores bench-recordings soak soak-streams chaos \
	fuzz screenshots lock clean

help:  ## this list
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/^\([^:]*\)%/\1N/' | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with all that is needed, .venv/bin/dual-mode among it

$(STAMP): pyproject.toml requirements.txt scripts/setup
	@scripts/setup
	@touch $@

serve: $(STAMP)  ## run the service (PORT=8000)
	@exec $(BIN)/dual-mode serve $(if $(PORT),--port $(PORT))

chat: $(UI)  ## chat in the browser (PORT=8501; URL=http://127.0.0.1:8000 asks that service)
	@exec .venv-ui/bin/dual-mode ui $(if $(PORT),--port $(PORT)) $(if $(URL),--url $(URL))

$(UI): requirements-ui.txt $(STAMP)
	@echo 'chat: installing Streamlit into .venv-ui' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-ui
	@$(BIN)/uv pip install --quiet --python .venv-ui/bin/python -r requirements-ui.txt
	@$(BIN)/uv pip install --quiet --python .venv-ui/bin/python --no-deps --editable .
	@touch $@

examples: $(STAMP)  ## run all examples, with what they show and what to try next
	@$(BIN)/python examples/run.py

examples-list: $(STAMP)  ## the examples, and the question that each one answers
	@$(BIN)/python examples/run.py --list

example-%: $(STAMP)  ## run one of them: make example-1
	@$(BIN)/python examples/run.py $*

exercises: $(STAMP)  ## how many exercises are solved, and which is next
	@$(BIN)/python -m exercises.checks progress

exercise-%: $(STAMP)  ## check one of them: make exercise-1
	@$(BIN)/python -m exercises.checks check $*

hint-%: $(STAMP)  ## three hints for it, the mildest first (UPTO=1 for that one alone)
	@$(BIN)/python -m exercises.checks hint $* --upto $(or $(UPTO),3)

solution-%: $(STAMP)  ## what is different between yours and the solution
	@$(BIN)/python -m exercises.checks solution $*

reset-%: $(STAMP)  ## begin it anew; what you had is kept beside it
	@$(BIN)/python -m exercises.checks reset $*

test: $(STAMP) $(UI)  ## all tests but the long ones, on two cores, under five minutes
	@scripts/system-packages
	$(BIN)/pytest -n 2 --dist worksteal

test-full: $(STAMP) $(UI)  ## all tests, the long ones too, under thirty minutes
	@scripts/system-packages
	$(BIN)/pytest -n 2 --dist worksteal
	$(BIN)/pytest -m full

lint: $(STAMP)  ## ruff, mypy, hadolint, and known vulnerabilities of what is pinned
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/python scripts/audit

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DOCS): docs/requirements.txt $(STAMP)
	@echo 'docs: installing what builds the site into .venv-docs' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-docs
	@$(BIN)/uv pip install --quiet --python .venv-docs/bin/python -r docs/requirements.txt
	@touch $@

docs: $(DOCS)  ## build the site into site/, warnings as errors
	@$(BIN)/python scripts/site.py
	@scripts/build-site

$(BENCH): benchmarks/requirements.txt $(STAMP)
	@echo 'bench: installing the peers into .venv-bench' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-bench
	@$(BIN)/uv pip install --quiet --python .venv-bench/bin/python -r benchmarks/requirements.txt
	@$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps --editable .
	@touch $@

bench: $(BENCH)  ## measure beside the peers, as ratios, under ten minutes (ARGS=--write)
	.venv-bench/bin/python benchmarks/bench.py $(ARGS)

bench-quick: $(BENCH)  ## the same in two minutes: fewer peers, shorter runs, no operators
	.venv-bench/bin/python benchmarks/bench.py --quick $(ARGS)

bench-operators: $(BENCH)  ## the stream operators alone, in more rounds (ROUNDS=7)
	.venv-bench/bin/python benchmarks/operators.py --rounds $(or $(ROUNDS),7)

bench-stores: $(BENCH)  ## what the durable stores cost, beside the usual way (ROUNDS=5)
	.venv-bench/bin/python benchmarks/stores_sqlite.py --rounds $(or $(ROUNDS),5)
	$(BIN)/python benchmarks/stores_redis.py --rounds $(or $(ROUNDS),5)

bench-recordings: $(STAMP)  ## what it costs to record, to replay and to share a stream (PART=replays)
	$(BIN)/python benchmarks/recordings.py $(if $(PART),--only $(PART))

bench-chats: $(STAMP)  ## what a chunk of a chat costs, and how many chats one worker takes
	$(BIN)/python benchmarks/chats.py --ramp

soak-streams: $(STAMP)  ## random pipelines under random ends (SECONDS=600); nothing may be left
	$(BIN)/python -m tests.streams.soak $(or $(SECONDS),600)

soak: $(STAMP)  ## mixed readers of two services (SECONDS=600 READERS=32 MEMORY=20 SEED=…); nothing may be lost or left
	@scripts/system-packages
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) --readers $(or $(READERS),32) \
		--memory $(or $(MEMORY),20) $(if $(SEED),--seed $(SEED))

chaos: $(STAMP)  ## recorded streams under random kills (SECONDS=300 STREAMS=100 SEED=…); none may lose any
	@scripts/system-packages
	$(BIN)/python -m tests.faults.chaos --seconds $(or $(SECONDS),300) \
		--streams $(or $(STREAMS),100) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP)  ## very many inputs to all that reads any (SECONDS=300 SEED=1); no crash, no growth
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),300) --seed $(or $(SEED),1)

screenshots: $(STAMP) $(UI)  ## draw docs/playground.png and docs/chat.png from what runs
	@scripts/system-packages
	$(BIN)/python scripts/screenshots.py

PINS := $(BIN)/uv pip compile --quiet --upgrade --universal --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock" --python-version 3.11
COMPILE := $(PINS) pyproject.toml
FOREIGN := tests/llm/foreign
ELSEWHERE := tests/elsewhere
NPM := npm install --package-lock-only --omit-lockfile-registry-resolved --save-exact --silent

lock: $(STAMP)  ## pin the newest versions of all dependencies
	$(COMPILE) --extra server --extra dev -o requirements.txt
	$(COMPILE) --extra server --extra redis --extra openai -c requirements.txt -o deploy/requirements.txt
	$(COMPILE) --extra bench -c requirements.txt -o benchmarks/requirements.txt
	$(COMPILE) --extra docs -c requirements.txt -o docs/requirements.txt
	$(COMPILE) --extra ui -c requirements.txt -o requirements-ui.txt
	for pins in $(FOREIGN)/*.in $(ELSEWHERE)/*.in; do $(PINS) $$pins -o $${pins%.in}.txt || exit 1; done
	for pins in $(FOREIGN) $(ELSEWHERE)/next; do (cd $$pins && \
		$(NPM) $$(sed -n 's/^ *"\([^"]*\)": "[0-9].*/\1@latest/p' package.json)) || exit 1; done

clean:  ## remove what the other commands have made
	rm -rf .venv .venv-* dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
