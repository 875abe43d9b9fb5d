#!/usr/bin/env bash
# Makes docs/results/ anew, then the tables of the pages: ./docs/results.sh [SEED...], by default 1
#
# Each application runs in each framework with each seed, the quick profile, one after the other.  The
# machine should have no other work.  A result names its commit, so nothing may be uncommitted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source common/environment.sh
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "error: files differ from the commit that the results would name. Commit them first." >&2
    exit 1
fi
[ $# -gt 0 ] || set -- 1
export XDG_CACHE_HOME=runs/cache # relative, so that no result holds a path of this machine
made=runs/results
rm -rf "$made"
for script in */*/run_and_time.sh; do
    for seed in "$@"; do
        variant=${script%/run_and_time.sh}
        folder=$made/${variant/\//-}-quick-$seed
        # 2: the target was missed, which is a result too.
        "./$script" --profile=quick --seed="$seed" --output_dir="$folder" || [ $? -eq 2 ]
    done
done
rm -f docs/results/*.json
for folder in "$made"/*; do
    cp "$folder/result.json" "docs/results/${folder##*/}.json"
done
PYTHON='' make_environment neutral tests/requirements.txt
"$PYTHON" -m common.tables
