#!/usr/bin/env bash
# verify_dataset.sh FOLDER: checks each game against FOLDER/SHA256SUMS.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" reinforcement --verify "$@"
