# Names for commands that exist: see README.md and CONTRIBUTING.md.  lint and tables take .venv/neutral,
# which tests/run.sh makes.
.PHONY: test fast timing lint tables results

test:
	./tests/run.sh whole

fast:
	./tests/run.sh fast

timing:
	./tests/run.sh timing

lint:
	.venv/neutral/bin/ruff check .

tables:
	.venv/neutral/bin/python -m common.tables

results:
	./docs/results.sh $(SEEDS)
