#!/usr/bin/env bash
# The GPU run: tests on the device and the tables of benchmarks/gpu.py, in at most 8 minutes on one H100 or H200.
#
#     benchmarks/gpu.sh [FOLDER [arguments of gpu.py]]
#
# Needs this checkout, and a Python with torch, numpy, Pillow, tqdm, pytest and hypothesis (PYTHON=python3); weights come
# from a seed. FOLDER (default: gpu-results) gets tests.txt, results.json and results.md.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=${1:-gpu-results}
shift || true
python=${PYTHON:-python3}
mkdir -p "$folder"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
"$python" benchmarks/gpu.py "$folder" "$@"
status=$?
timeout "${TEST_SECONDS:-120}" "$python" -m pytest -q -o addopts=--import-mode=importlib -o filterwarnings= \
    -m "gpu and not slow" tests/test_simulated_device.py \
    tests/test_device_functions.py tests/training/test_device_training.py tests/inference/test_fused_network.py \
    tests/inference/test_freed_weights.py tests/test_device_examples.py tests/layers/test_losses.py \
    tests/training/test_training_options.py > "$folder/tests.txt" 2>&1
tests=$?
tail -n 3 "$folder/tests.txt"
[ "$tests" = 0 ] && exit "$status"
exit 1
