#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches, checks, unpacks COCO 2017 and its backbone (20.5 GB).
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" object_detection "$@"
