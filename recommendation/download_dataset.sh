#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches, checks and unpacks MovieLens-20M.  Cut off, start it again.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" recommendation "$@"
