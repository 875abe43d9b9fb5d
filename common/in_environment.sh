#!/usr/bin/env bash
# in_environment.sh APPLICATION FRAMEWORK ARGUMENTS...: runs python ARGUMENTS where the framework is.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/common/environment.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
requirements=$(requirements_of "$1" "$2")
make_environment "$2" "$requirements"
# glibc returns each large buffer to the system, which zeroes it for the next use: on a CPU that took
# a third of PyTorch's and a fifth of PaddlePaddle's step of a large convolutional network.  So
# memory once taken is kept.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-17179869184}"
exec "$PYTHON" "${@:3}"
