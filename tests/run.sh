#!/usr/bin/env bash
# Makes what the tests need, then runs them: ./tests/run.sh [fast | whole | timing] [pytest's words]
#
#   fast     ruff, structure and units, what looks inside each framework, one step of parity
#   whole    the same with all of parity, and the commands that a user types (the default)
#   timing   alone: seconds to the quick profiles' targets.  --seeds=10 --results=FOLDER
#
# What tells of a wrong twin soonest comes first.  Every session runs, whichever fail before it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source common/environment.sh
if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON is set: the tests make their own environments. Unset it." >&2
    exit 1
fi
tier=whole
case "${1:-}" in
    fast | whole | timing) tier=$1; shift ;;
esac
frameworks=(pytorch tensorflow paddlepaddle)
for framework in "${frameworks[@]}"; do
    for requirements in */"$framework"/requirements.txt; do
        PYTHON='' make_environment "$framework" "$requirements"
    done
    PYTHON='' make_environment "$framework" \
        "image_classification/$framework/requirements.txt" tests/requirements.txt
done
PYTHON='' make_environment neutral tests/requirements.txt

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
# session NAME ENVIRONMENT [pytest's words]: tests/summary.py reads what it leaves in $reports.
session() {
    local name=$1 python=.venv/$2/bin/python ended=0
    shift 2
    echo "== $name"
    "$python" -m pytest --junitxml="$reports/$name.xml" "$@" || ended=$?
    echo "$ended" > "$reports/$name.status"
}
# Two workers of one thread each.  Threads of OpenMP that wait longer take the other's core.
side_by_side=(-n 2 --dist=loadgroup)
if [ "$tier" = timing ]; then
    session timing neutral -m timing -rP "$@"
else
    export OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000
    echo "== ruff"
    ended=0
    .venv/neutral/bin/ruff check . || ended=$?
    echo "$ended" > "$reports/ruff.status"
    session unit neutral -m unit "${side_by_side[@]}" "$@"
    for framework in "${frameworks[@]}"; do
        session "$framework" "$framework" --framework="$framework" "${side_by_side[@]}" "$@"
    done
    if [ "$tier" = fast ]; then
        session parity neutral -m one_step "${side_by_side[@]}" "$@"
    else
        session parity neutral -m parity "${side_by_side[@]}" "$@"
        session end_to_end neutral -m "end_to_end and not one_step" "${side_by_side[@]}" "$@"
    fi
fi
.venv/neutral/bin/python tests/summary.py "$reports"
