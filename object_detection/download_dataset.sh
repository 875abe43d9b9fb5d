#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches, checks, unpacks COCO 2017 and R-50.pkl (20.5 GB).  Cut off, start it again.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" object_detection "$@"
