#!/usr/bin/env bash
# Trains object_detection in tensorflow to its target; the flags are those of README.md.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../../common/launch.sh" object_detection tensorflow "$@"
