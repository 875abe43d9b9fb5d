#!/usr/bin/env bash
# in_environment.sh APPLICATION FRAMEWORK ARGUMENTS...: runs python ARGUMENTS where the framework is.
#
# With --device=cuda among them, where it is a build for that device; without --device DEVICE counts.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/common/environment.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
flag='' field='' before=''
for argument in "${@:3}"; do
    case "$argument" in
        --device | -device | --set | -set) before="$argument=" && continue ;;
    esac
    case "$before$argument" in
        --device=* | -device=*) flag=${argument#*=} ;;
        --set=device=* | -set=device=*) field=${argument##*=} ;;
    esac
    before=''
done
DEVICE=${field:-${flag:-${DEVICE:-cpu}}} # as common/options.py reads them
requirements=$(requirements_of "$1" "$2")
name=$2
if [ "$DEVICE" = cuda ] && [ -f "${requirements%.txt}-cuda.txt" ]; then
    requirements=${requirements%.txt}-cuda.txt
    name=$2-cuda
fi
make_environment "$name" "$requirements"
if [ "$name" = tensorflow-cuda ]; then
    # Its wheel looks for cuSOLVER where the other CUDA wheels do not lie.
    for folder in "$(dirname "$PYTHON")"/../lib/python*/site-packages/nvidia/*/lib; do
        LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    done
    export LD_LIBRARY_PATH
fi
# Threads that wait actively take a core from whoever else computes: an epoch of a small network took
# over 100 s beside another run with libgomp's own setting, 19 s with this one; alone the same.
# PaddlePaddle's libiomp5 is fastest alone as it is (2.8 s; passive 4.5 s) and loses threefold beside
# another run (8.3 s; passive 5.8 s); TensorFlow's own threads do not wait actively.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"
# glibc returns each large buffer to the system, which zeroes it for the next use: on a CPU that took
# a third of PyTorch's and a fifth of PaddlePaddle's step of a large convolutional network.  So
# memory once taken is kept.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-17179869184}"
exec "$PYTHON" "${@:3}"
