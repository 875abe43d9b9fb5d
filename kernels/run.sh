#!/usr/bin/env bash
# run.sh FRAMEWORK [flags]: times kernels in that framework; the flags are those of README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
    pytorch | tensorflow | paddlepaddle) ;;
    *)
        echo "error: usage: kernels/run.sh FRAMEWORK [flags]; FRAMEWORK is one of pytorch," \
            "tensorflow, paddlepaddle." >&2
        exit 1
        ;;
esac
exec common/in_environment.sh kernels "$1" -m kernels.suite "$@"
