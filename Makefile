# The commands of this repository; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
SITE := .cache/site
PAGE := tomaat/web/page/static
PAGE_CHECKS := tools/page-checks
PEERS := .cache/peers
KINDS := requirements-onnx.txt requirements-nnunet.txt requirements-monai.txt requirements-ray.txt
ARGS ?=
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input

.PHONY: help demo serve reload keys manager sources backup doctor docs pictures test test-quick test-thorough check check-python check-page benchmark benchmark-peers mutants chaos
.PHONY: image image-check
.PHONY: train-inner-ear evaluate-inner-ear clean
.DEFAULT_GOAL := help

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 28
	@echo "Settings are environment variables: TOMAAT_PORT=5001 make serve. The README lists them."

demo: $(VENV)/requirements  ## start everything, send three tickets, show what happens, stop everything
	@$(VENV)/bin/python -m tools.demo

serve: $(VENV)/requirements  ## run PostgreSQL and the three doors until Ctrl-C
	@$(VENV)/bin/python -m tomaat.launch serve

keys: $(VENV)/requirements  ## API keys: make keys ARGS="make radiology", ARGS=list, ARGS="revoke radiology"
	@$(VENV)/bin/python -m tomaat.launch keys $(ARGS)

manager: $(VENV)/requirements  ## what QueueManager asks an operator: make manager ARGS=questions, ARGS="agree clock"
	@$(VENV)/bin/python -m tomaat.launch manager $(ARGS)

sources: $(VENV)/requirements  ## compute sources: make sources ARGS=list, ARGS="forget NAME" for one that is gone for good
	@$(VENV)/bin/python -m tomaat.launch sources $(ARGS)

reload: $(VENV)/requirements  ## let the running server load changed tasks: make reload, or make reload ARGS=Liver
	@$(VENV)/bin/python -m tomaat.launch reload $(ARGS)

backup: $(VENV)/requirements  ## make backup ARGS="make PLACE --keep 7", ARGS="verify FOLDER", ARGS="restore FOLDER"
	@$(VENV)/bin/python -m tomaat.launch backup $(ARGS)

doctor:  ## name each fault of the setup and its remedy; changes nothing
	@test -x $(VENV)/bin/python || { echo "There is no $(VENV) yet: make demo, or make serve, sets everything up."; exit 1; }
	@$(VENV)/bin/python -m tomaat.launch doctor $(ARGS)

image:  ## build the container image tomaat by buildah: docs/production.md; ARGS="--folders nnunet"
	@$(PYTHON) -m tools.image $(ARGS)

image-check: $(VENV)/requirements  ## build it on a Debian made here, run the demo in it, look at what it holds; root, ten minutes
	@$(VENV)/bin/python -m tools.image_check $(ARGS)

docs: $(VENV)/requirements-docs  ## build the documents' site into .cache/site
	@$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going -q -c docs -d $(SITE)-read . $(SITE)
	@echo "The site: $(SITE)/index.html"

pictures: $(VENV)/requirements-dev  ## take the documents' pictures again, into docs/pictures
	@$(VENV)/bin/python -m tools.pictures

test: $(VENV)/requirements-dev  ## run the tests; ARGS="-k queue -x" goes to pytest
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not thorough" $(ARGS)

test-thorough: $(VENV)/requirements-dev  ## run the tests that make test leaves out: further cases, a quarter of an hour
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m thorough $(ARGS)

test-quick: $(VENV)/requirements-dev  ## run the quick tests, in three minutes: no whole service, no browser
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" tests/unit tests/integration tomaat Inputs $(ARGS)

check: check-python check-page  ## ruff, mypy; tsc and eslint for the page's modules; the formatting of both

check-python: $(VENV)/requirements-dev  ## ruff, the formatting and mypy alone
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

check-page: $(PAGE_CHECKS)/node_modules/installed  ## the checks of the page alone; they need npm
	@$(PAGE_CHECKS)/node_modules/.bin/tsc --project $(PAGE_CHECKS)
	@$(PAGE_CHECKS)/node_modules/.bin/eslint --config $(PAGE_CHECKS)/eslint.config.js --max-warnings 0 $(PAGE)
	@$(PAGE_CHECKS)/node_modules/.bin/prettier --config $(PAGE_CHECKS)/prettier.json --check "$(PAGE)/{*.js,**/*.d.ts}" $(PAGE_CHECKS)

benchmark: $(VENV)/requirements-dev  ## measure this machine, and print the best possible figure beside each
	@$(VENV)/bin/python -m benchmarks.measure

benchmark-peers: $(VENV)/requirements-dev $(PEERS)/celery/requirements $(PEERS)/procrastinate/requirements  ## the same work through Celery + Redis and procrastinate: benchmarks/peers/README.md
	@$(VENV)/bin/python -m benchmarks.peers $(ARGS)

mutants: $(VENV)/requirements-dev  ## remove each guard in turn, and see whether the tests notice: docs/evidence/mutants.md
	@$(VENV)/bin/python -m tests.mutants $(ARGS)

chaos: $(VENV)/requirements-dev  ## strike the service at every moment, 20 times each, and kill at random: docs/evidence/faults.md
	@$(VENV)/bin/python -m tests.chaos $(ARGS)

train-inner-ear: $(VENV)/requirements  ## train InnerEarSegmentation's network on phantoms; up to 90 minutes on two cores
	@$(VENV)/bin/python -m networks.inner_ear.train $(ARGS)

evaluate-inner-ear: $(VENV)/requirements  ## evaluate it on 200 phantoms that it has not seen
	@$(VENV)/bin/python -m networks.inner_ear.evaluate $(ARGS)

clean:  ## remove everything that can be made again; the tickets in storage/ stay
	rm -rf $(VENV) $(PAGE_CHECKS)/node_modules .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than its requirements once they are installed: a change of them installs again.
$(VENV)/requirements: requirements.txt requirements-networks.txt
	@tools/make_venv.sh "$(PYTHON)" "$(VENV)"
	@echo "Installing requirements.txt: PyTorch and the rest."
	@$(PIP) install --quiet -r requirements.txt
	@$(PIP) install --quiet --no-deps -r requirements-networks.txt
	@touch $@

$(VENV)/requirements-docs: requirements-docs.txt $(VENV)/requirements
	@echo "Installing requirements-docs.txt: what only the site needs."
	@$(PIP) install --quiet -r requirements-docs.txt
	@touch $@

$(VENV)/requirements-dev: requirements-dev.txt $(KINDS) $(VENV)/requirements-docs
	@echo "Installing requirements-dev.txt, and what network folders and Ray need: what only the tests and checks need."
	@$(PIP) install --quiet -r requirements-dev.txt
	@$(PIP) install --quiet --no-deps $(KINDS:%=-r %)
	@touch $@

# A peer has its own packages first; PyTorch, numpy and SimpleITK are those of this service.
$(PEERS)/%/requirements: benchmarks/peers/requirements-%.txt $(VENV)/requirements
	@tools/make_venv.sh "$(PYTHON)" "$(PEERS)/$*"
	@$(PEERS)/$*/bin/python -m pip --disable-pip-version-check --no-input install --quiet -r $<
	@$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$($(PEERS)/$*/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/service.pth"
	@touch $@

$(PAGE_CHECKS)/node_modules/installed: $(PAGE_CHECKS)/package-lock.json
	@command -v npm >/dev/null || { echo "Checking the page's modules needs npm: install the Debian packages nodejs and npm."; exit 1; }
	@echo "Installing $<: only the checks of the page need it."
	@npm ci --prefix $(PAGE_CHECKS) --no-audit --no-fund --loglevel error
	@touch $@
