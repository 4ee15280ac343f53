# The commands of this repository; `make help` lists them. Each installs first what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
STAMP := .venv/.set-up
BENCH := .venv-bench/.set-up
DOCS := .venv-docs/.set-up
UI := .venv-ui/.set-up

.PHONY: help setup serve chat examples examples-list exercises test test-full test-lowest coverage lint \
	format hooks docs npm release-check bench bench-quick bench-operators bench-channels bench-chats bench-stores bench-recordings soak soak-streams chaos \
	fuzz screenshots lock clean

help:  ## list these commands
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/^\([^:]*\)%/\1N/' | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP)  ## create .venv with everything that is needed (PYTHON=python3.13)

$(STAMP): pyproject.toml requirements.txt scripts/setup
	@scripts/setup
	@touch $@

serve: $(STAMP)  ## run the service (PORT=8000)
	@exec $(BIN)/dual-mode serve $(if $(PORT),--port $(PORT))

chat: $(UI)  ## open the chat page (PORT=8501; URL=http://127.0.0.1:8000 uses that service)
	@exec .venv-ui/bin/dual-mode ui $(if $(PORT),--port $(PORT)) $(if $(URL),--url $(URL))

$(UI): requirements-ui.txt $(STAMP)
	@echo 'chat: installing Streamlit into .venv-ui' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-ui
	@$(BIN)/uv pip install --quiet --python .venv-ui/bin/python -r requirements-ui.txt
	@$(BIN)/uv pip install --quiet --python .venv-ui/bin/python --no-deps --editable .
	@touch $@

examples: $(STAMP)  ## run all examples; each explains itself and says what to try next
	@$(BIN)/python examples/run.py

examples-list: $(STAMP)  ## list the examples with the question that each answers
	@$(BIN)/python examples/run.py --list

example-%: $(STAMP)  ## run one example: make example-1
	@$(BIN)/python examples/run.py $*

exercises: $(STAMP)  ## show how many exercises are solved and which is next
	@$(BIN)/python -m exercises.checks progress

exercise-%: $(STAMP)  ## check one exercise: make exercise-1
	@$(BIN)/python -m exercises.checks check $*

hint-%: $(STAMP)  ## show three hints for an exercise, the smallest first (UPTO=1: only that)
	@$(BIN)/python -m exercises.checks hint $* --upto $(or $(UPTO),3)

solution-%: $(STAMP)  ## compare your exercise with the solution
	@$(BIN)/python -m exercises.checks solution $*

reset-%: $(STAMP)  ## start an exercise again; your version is kept beside it
	@$(BIN)/python -m exercises.checks reset $*

# Three workers on two cores: many tests wait for a server or a browser.
test: $(STAMP) $(UI)  ## run the tests on two cores, in less than five minutes
	@scripts/system-packages
	$(BIN)/pytest -n 3 --dist worksteal \
		$(if $(COVERAGE),--cov --cov-report=term-missing:skip-covered --cov-fail-under=$(COVERAGE))

test-full: $(STAMP) $(UI)  ## run all tests, also the long ones and the measurements (30 minutes)
	@scripts/system-packages
	$(BIN)/pytest -n 3 --dist worksteal
	$(BIN)/pytest -m full

coverage:  ## run the tests, and show what they do not cover; less than 93 % is an error
	@$(MAKE) test COVERAGE=93

test-lowest: $(STAMP)  ## run most tests with the lowest versions that pyproject.toml allows
	@scripts/system-packages
	scripts/test-lowest

lint: $(STAMP)  ## run ruff, mypy and hadolint; look for known vulnerabilities in the pins
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/python scripts/audit

format: $(STAMP)  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(STAMP)  ## check every commit: install the git hooks of .pre-commit-config.yaml
	$(BIN)/uv tool run --quiet pre-commit@4.7.0 install

$(DOCS): docs/requirements.txt $(STAMP)
	@echo 'docs: installing the site builder into .venv-docs' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-docs
	@$(BIN)/uv pip install --quiet --python .venv-docs/bin/python -r docs/requirements.txt
	@touch $@

docs: $(DOCS)  ## build the site into site/; warnings are errors
	@$(BIN)/python scripts/site.py
	@scripts/build-site

npm:  ## build the npm package of dual-mode.js into dist/
	@mkdir -p dist
	@cd src/dual_mode_streaming/static && npm pack --silent --pack-destination ../../../dist

release-check: $(STAMP)  ## build the sdist and the wheel, and check that they can be released
	$(BIN)/python scripts/release-check

$(BENCH): benchmarks/requirements.txt $(STAMP)
	@echo 'bench: installing the other libraries into .venv-bench' >&2
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-bench
	@$(BIN)/uv pip install --quiet --python .venv-bench/bin/python -r benchmarks/requirements.txt
	@$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps --editable .
	@touch $@

bench: $(BENCH)  ## compare with other libraries, in less than ten minutes (ARGS=--write)
	.venv-bench/bin/python benchmarks/bench.py $(ARGS)

bench-quick: $(BENCH)  ## the same in two minutes: fewer libraries, shorter runs, no operators
	.venv-bench/bin/python benchmarks/bench.py --quick $(ARGS)

bench-operators: $(BENCH)  ## only the stream operators, in more rounds (ROUNDS=7)
	.venv-bench/bin/python benchmarks/operators.py --rounds $(or $(ROUNDS),7)

bench-stores: $(BENCH)  ## measure the SQLite and Redis stores (ROUNDS=5)
	.venv-bench/bin/python benchmarks/stores_sqlite.py --rounds $(or $(ROUNDS),5)
	$(BIN)/python benchmarks/stores_redis.py --rounds $(or $(ROUNDS),5)

bench-recordings: $(STAMP)  ## measure recording, replaying and sharing a stream (PART=replays)
	$(BIN)/python benchmarks/recordings.py $(if $(PART),--only $(PART))

bench-channels: $(STAMP)  ## measure channels beside raw ASGI: 5,000 readers of one, and one of each (PART=fanout)
	$(BIN)/python benchmarks/channels.py $(if $(PART),--only $(PART))

bench-chats: $(STAMP)  ## measure the cost of a chat, and how many chats one worker serves
	$(BIN)/python benchmarks/chats.py --ramp

soak-streams: $(STAMP)  ## end random pipelines at random; nothing may be left (SECONDS=600)
	$(BIN)/python -m tests.streams.soak $(or $(SECONDS),600)

soak: $(STAMP)  ## read from two services for long; nothing may be lost or left (SECONDS=600 READERS=32 MEMORY=20 SEED=…)
	@scripts/system-packages
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) --readers $(or $(READERS),32) \
		--memory $(or $(MEMORY),20) $(if $(SEED),--seed $(SEED))

chaos: $(STAMP)  ## random faults of workers, stores and networks; no stream may lose or repeat a thing (SECONDS=300 SEED=…)
	@scripts/system-packages
	$(BIN)/python -m tests.faults.chaos --seconds $(or $(SECONDS),300) \
		$(if $(STREAMS),--streams $(STREAMS)) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP)  ## give everything that reads any random input, and input that atheris makes (SECONDS=300 SEED=1 KEEP=1)
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),300) --seed $(or $(SEED),1) $(if $(KEEP),--keep)

screenshots: $(STAMP) $(UI)  ## make the pictures of docs/ anew
	@scripts/system-packages
	$(BIN)/python scripts/screenshots.py

PINS := $(BIN)/uv pip compile --quiet --upgrade --universal --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock" --python-version 3.11
COMPILE := $(PINS) pyproject.toml
TESTED := --extra server --extra apidocs --extra openai --extra redis --extra client --extra otel
FOREIGN := tests/llm/foreign
ELSEWHERE := tests/elsewhere
NPM := npm install --package-lock-only --omit-lockfile-registry-resolved --save-exact --silent

lock: $(STAMP)  ## pin the newest versions of all dependencies
	$(COMPILE) $(TESTED) --group dev -o requirements.txt
	$(COMPILE) --extra server --extra apidocs --extra redis --extra openai -c requirements.txt -o deploy/requirements.txt
	$(COMPILE) --extra server --group bench -c requirements.txt -o benchmarks/requirements.txt
	$(COMPILE) --group docs -c requirements.txt -o docs/requirements.txt
	$(COMPILE) --extra ui -c requirements.txt -o requirements-ui.txt
	for pins in $(FOREIGN)/*.in tests/llm/agents/*.in tests/llm/frontends/*.in $(ELSEWHERE)/*.in tests/channels/*.in tests/fuzz/*.in tests/typing/*.in; do $(PINS) $$pins -o $${pins%.in}.txt || exit 1; done
	for pins in $(FOREIGN) tests/llm/agents tests/llm/frontends $(ELSEWHERE)/next $(ELSEWHERE)/sse $(ELSEWHERE)/clients tests/channels/node $(ELSEWHERE)/htmx examples/frontends; do (cd $$pins && \
		$(NPM) $$(sed -n 's/^ *"\([^"]*\)": "[0-9].*/\1@latest/p' package.json)) || exit 1; done

clean:  ## remove everything that the other commands have made
	rm -rf .venv .venv-* dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	rm -rf .coverage .coverage.* examples/frontends/build examples/frontends/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
