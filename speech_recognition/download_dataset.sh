#!/usr/bin/env bash
# download_dataset.sh FOLDER: fetches, checks, unpacks LibriSpeech (61 GB).  Cut off, start it again.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../common/data/download.sh" speech_recognition "$@"
