#!/usr/bin/env bash
# launch.sh APPLICATION FRAMEWORK [flags]: makes the environment on first use, then starts the run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/common/environment.sh"
make_environment "$2" "$root/$1/$2/requirements.txt"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m common.launch "$@"
