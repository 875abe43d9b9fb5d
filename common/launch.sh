#!/usr/bin/env bash
# launch.sh APPLICATION FRAMEWORK [flags]: makes the environment on first use, then starts the run.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "error: usage: launch.sh APPLICATION FRAMEWORK [flags]" >&2
    exit 1
fi
exec "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh" "$1" "$2" -m common.launch "$@"
