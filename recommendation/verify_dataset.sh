#!/usr/bin/env bash
# verify_dataset.sh FOLDER: checks every file of MovieLens-20M against FOLDER/SHA256SUMS.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" recommendation --verify "$@"
