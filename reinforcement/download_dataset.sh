#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches and checks four games of professionals.  Cut off, start it again.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" reinforcement "$@"
