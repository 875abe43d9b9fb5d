#!/usr/bin/env bash
# launch.sh APPLICATION FRAMEWORK [flags]: makes the environment on first use, then starts the run.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh" "$1" "$2" -m common.launch "$@"
