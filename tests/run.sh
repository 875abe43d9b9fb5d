#!/usr/bin/env bash
# Makes what the tests need, then runs them: ./tests/run.sh [application or folder of tests/]
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
paths=()
for path in "$@"; do paths+=("tests/${path#tests/}"); done
for framework in pytorch tensorflow paddlepaddle; do
    for requirements in */"$framework"/requirements.txt; do
        PYTHON='' make_environment "$framework" "$requirements"
    done
    PYTHON='' make_environment "$framework" \
        "image_classification/$framework/requirements.txt" tests/requirements.txt
done
PYTHON='' make_environment neutral tests/requirements.txt
.venv/neutral/bin/ruff check .
.venv/neutral/bin/python -m pytest "${paths[@]}"
for framework in pytorch tensorflow paddlepaddle; do
    .venv/$framework/bin/python -m pytest --framework="$framework" "${paths[@]}"
done
