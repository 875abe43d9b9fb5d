#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches, checks, unpacks WMT17's text.  Cut off, start it again.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" translation "$@"
