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
named=no # whether a word is a path of tests
for word in "$@"; do
    case "$word" in
        tests | tests/* | ./tests*) named=yes ;;
    esac
done
# session NAME ENVIRONMENT PLACES [pytest's words]: tests/summary.py reads what it leaves in $reports.
# PLACES, words of pytest, narrow what is imported, where the user names no path.
session() {
    local name=$1 python=.venv/$2/bin/python ended=0 places=()
    [ "$named" = yes ] || read -ra places <<< "$3"
    shift 3
    echo "== $name"
    "$python" -m pytest --continue-on-collection-errors --junitxml="$reports/$name.xml" \
        "${places[@]}" "$@" || ended=$?
    echo "$ended" > "$reports/$name.status"
}
units="tests/test_structure.py tests --ignore=tests/parity --ignore=tests/end_to_end --ignore=tests/timing"
# Two workers of one thread each.  Threads of OpenMP that wait longer take the other's core.
side_by_side=(-n 2 --dist=loadgroup)
if [ "$tier" = timing ]; then
    session timing neutral tests/timing -m timing -rP "$@"
else
    export OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000
    echo "== ruff"
    ended=0
    .venv/neutral/bin/ruff check . || ended=$?
    echo "$ended" > "$reports/ruff.status"
    session unit neutral "$units" -m unit "${side_by_side[@]}" "$@"
    for framework in "${frameworks[@]}"; do
        session "$framework" "$framework" "$units" --framework="$framework" "${side_by_side[@]}" \
            "$@"
    done
    if [ "$tier" = fast ]; then
        session parity neutral tests/end_to_end/test_one_step.py -m one_step "${side_by_side[@]}" "$@"
    else
        session parity neutral tests/parity -m parity "${side_by_side[@]}" "$@"
        session end_to_end neutral tests/end_to_end -m "end_to_end and not one_step" \
            "${side_by_side[@]}" "$@"
    fi
fi
.venv/neutral/bin/python tests/summary.py "$reports"
