#!/usr/bin/env bash
# The GPU run: the tables of benchmarks/gpu.py and tests on the device, in at most 8 minutes on one H100 or H200.
#
#     benchmarks/gpu.sh [FOLDER [arguments of gpu.py]]
#
# Needs this checkout, and a Python with torch, numpy, Pillow, tqdm, pytest and hypothesis (PYTHON=python3); weights come
# from a seed. FOLDER (default: gpu-results) gets results.json, results.md and tests.txt. Each part has a time budget, and
# names what it skips; the limits of timeout are the last resort.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=${1:-gpu-results}
shift || true
python=${PYTHON:-python3}
seconds=${TEST_SECONDS:-90}
mkdir -p "$folder"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
timeout "${TABLE_SECONDS:-370}" "$python" -m benchmarks.gpu "$folder" "$@"
status=$?
timeout $((seconds + 20)) "$python" -m benchmarks.gpu_tests "$seconds" > "$folder/tests.txt" 2>&1
tests=$?
tail -n 3 "$folder/tests.txt"
[ "$tests" = 0 ] && exit "$status"
exit 1
