#!/usr/bin/env bash
# download.sh APPLICATION FOLDER [--verify] [flags]: fetches or checks a dataset, without a framework.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/common/environment.sh"
make_environment data "$root/$1/requirements.txt"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m common.data.download "$@"
