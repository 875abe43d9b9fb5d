#!/usr/bin/env bash
# verify_dataset.sh FOLDER: checks every file of COCO 2017 against FOLDER/SHA256SUMS.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" object_detection --verify "$@"
