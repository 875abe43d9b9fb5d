#!/usr/bin/env bash
# run.sh FRAMEWORK [flags]: times kernels in that framework; the flags are those of README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
case "${1:-}" in
    pytorch) ;;
    *)
        echo "error: usage: kernels/run.sh FRAMEWORK [flags]; FRAMEWORK is pytorch." >&2
        exit 1
        ;;
esac
exec common/in_environment.sh kernels "$1" -m kernels.suite "$@"
