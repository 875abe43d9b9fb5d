#!/usr/bin/env bash
# Makes what the tests need, then runs them: ./tests/run.sh [arguments of pytest, as -k translation]
#
# First all that needs no framework inside the test's own process, among it the commands that a user
# starts; then, in each framework's environment, what looks inside that framework.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source common/environment.sh
if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON is set: the tests make their own environments. Unset it." >&2
    exit 1
fi
for framework in pytorch tensorflow paddlepaddle; do
    for requirements in */"$framework"/requirements.txt; do
        PYTHON='' make_environment "$framework" "$requirements"
    done
    PYTHON='' make_environment "$framework" \
        "image_classification/$framework/requirements.txt" tests/requirements.txt
done
PYTHON='' make_environment neutral tests/requirements.txt

no_tests=5 # pytest's status where it is told to run none: a fault only if it is so in each session
status=$no_tests
run_pytest() {
    local ended=0
    "$@" || ended=$?
    [ "$ended" -eq 0 ] || [ "$ended" -eq "$no_tests" ] || exit "$ended"
    [ "$ended" -ne 0 ] || status=0
}
.venv/neutral/bin/ruff check .
run_pytest .venv/neutral/bin/python -m pytest "$@"
for framework in pytorch tensorflow paddlepaddle; do
    run_pytest .venv/$framework/bin/python -m pytest --framework="$framework" "$@"
done
exit "$status"
