#!/usr/bin/env bash
# verify_dataset.sh FOLDER: checks every file of LibriSpeech against FOLDER/SHA256SUMS.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" speech_recognition --verify "$@"
