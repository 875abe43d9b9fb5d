#!/usr/bin/env bash
# in_environment.sh APPLICATION FRAMEWORK ARGUMENTS...: runs python ARGUMENTS where the framework is.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/common/environment.sh"
make_environment "$2" "$root/$1/$2/requirements.txt"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" "${@:3}"
