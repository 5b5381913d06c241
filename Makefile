# Everything a newcomer, a developer and CI run. Python 3.11 and make are all it assumes.
.DEFAULT_GOAL := help
.PHONY: help setup simulate test test-system lint types bench fuzz fuzz-sessions lift locks remedies kills soak \
        test-sentry test-sentry-oldest test-sentry-newest

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := $(shell command -v uv || echo .cache/uv/bin/uv)
RUN := .venv/bin
# where no bytecode may be kept, each process that runs tests compiles them, and what they start, anew
unexport PYTHONDONTWRITEBYTECODE

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 22

setup: .venv/ready ## Prepare .venv with everything the other targets need

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --all-extras --compile-bytecode --python $(PYTHON)
	@touch $@

.cache/uv/bin/uv: # only where uv isn't installed
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv

simulate: setup ## Hold spoken conversations with the agent, eight at a time, and check all of it
	$(RUN)/parley simulate --at-once 8 --record

test: setup ## Run the tests: side by side, then those that time speech as it is heard
	$(RUN)/pytest -m "not system and not realtime" --numprocesses 3 --dist worksteal
	$(RUN)/pytest -m "realtime and not system" --numprocesses 2 --dist loadfile

test-system: setup ## Run the tests that need a system: a browser, LiveKit, root for the image
	$(RUN)/pytest -m system

lint: setup ## Check style, formatting and which way imports run
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

types: setup ## Check types
	$(RUN)/mypy

fuzz: setup ## Hold 500 pairs of conversations in random surroundings; FUZZ_SEED=… repeats a run
	@export FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-500} FUZZ_SEED=$${FUZZ_SEED:-$$($(RUN)/python -c 'import secrets; print(secrets.randbits(32))')}; \
	echo "FUZZ_SEED=$$FUZZ_SEED"; \
	$(RUN)/pytest --show-capture=no tests/telemetry/conformance/test_surroundings.py

fuzz-sessions: setup ## Hold 200 LiveKit sessions at random: history and trace agree; FUZZ_SEED=… repeats a run
	@export FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} FUZZ_SEED=$${FUZZ_SEED:-$$($(RUN)/python -c 'import secrets; print(secrets.randbits(32))')}; \
	echo "FUZZ_SEED=$$FUZZ_SEED"; \
	$(RUN)/pytest --show-capture=no tests/telemetry/integrations/livekit/test_at_random.py

lift: setup ## Copy telemetry/ elsewhere, under another name, and run its tests there
	$(RUN)/python -m tests.lift
	$(RUN)/python -m tests.lift --nested

remedies: setup ## Take each remedy of telemetry away, and check that a test fails
	$(RUN)/python -m tests.telemetry.conformance.without

locks: setup ## Run each cell of the lock matrix a hundred times (20 minutes)
	$(RUN)/python -m tests.telemetry.locks --runs 100

test-sentry: setup ## Run telemetry's tests on the oldest sentry-sdk allowed and the newest
	@$(MAKE) --no-print-directory -j2 --output-sync test-sentry-oldest test-sentry-newest

test-sentry-oldest: ; $(RUN)/python -m tests.lift --core --oldest
test-sentry-newest: ; $(RUN)/python -m tests.lift --core --nested

kills: setup ## Kill a hundred processes that hold conversations, and look for all they recorded (10 minutes)
	$(RUN)/python -m tests.telemetry.conformance.killed
	$(RUN)/python -m tests.telemetry.conformance.killed --away --kills 10

soak: setup ## Callers come and go for ten minutes, and faults happen; SOAK_SEED=… repeats a run
	$(RUN)/python -m tests.soak --minutes $${SOAK_MINUTES:-10} $${SOAK_SEED:+--seed $$SOAK_SEED}

bench: setup ## Measure what telemetry costs, side by side in one run
	$(RUN)/python -m tests.bench
