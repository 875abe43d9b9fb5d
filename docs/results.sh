#!/usr/bin/env bash
# Makes docs/results/ anew, then the tables of the pages: ./docs/results.sh [SEEDS], by default 1
#
# The timing tier's runs: each application in each framework, the quick profile with seeds 1 to SEEDS,
# one after the other.  The machine should have no other work.  A result names its commit, so nothing
# may be uncommitted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "error: files differ from the commit that the results would name. Commit them first." >&2
    exit 1
fi
export XDG_CACHE_HOME=runs/cache # relative, so that no result holds a path of this machine
made=runs/results
rm -rf "$made"
missed=0 # a cell that missed its target or the time that it should take
./tests/run.sh timing --seeds="${1:-1}" --results="$made" || missed=$?
rm -f docs/results/*.json
for folder in "$made"/*; do
    cp "$folder/result.json" "docs/results/${folder##*/}.json"
done
.venv/neutral/bin/python -m common.tables
exit "$missed"
