# Every target is one call of tools/bootstrap.py, which needs nothing but Python 3.11 to 3.13. VECTORS=DIR, NAMES="SCENARIO ...", PYTHON=python3.12.
PYTHON ?= python3
VECTORS ?= vectors
.PHONY: demo test test-long lint bench generated-check test-vectors setup clean
demo:            ; @$(PYTHON) tools/bootstrap.py demo
test:            ; @$(PYTHON) tools/bootstrap.py test
test-long:       ; @$(PYTHON) tools/bootstrap.py test-long
lint:            ; @$(PYTHON) tools/bootstrap.py lint
bench:           ; @$(PYTHON) tools/bootstrap.py bench $(NAMES)
generated-check: ; @$(PYTHON) tools/bootstrap.py generated-check
test-vectors:    ; @$(PYTHON) tools/bootstrap.py test-vectors "$(VECTORS)"
setup:           ; @$(PYTHON) tools/bootstrap.py setup
clean:           ; @$(PYTHON) tools/bootstrap.py clean
