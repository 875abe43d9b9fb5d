#!/usr/bin/env bash
# in_report.sh ARGUMENTS...: runs python ARGUMENTS where the libraries of reports are.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/common/environment.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
make_environment report "$root/common/requirements-report.txt"
exec "$PYTHON" "$@"
