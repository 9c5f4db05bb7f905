#!/usr/bin/env bash
# Make cfgs/digits.weights anew: the set of seed 0, the recipe of cfgs/digits.cfg, seed 1, one thread of the CPU.
#
#   tools/train_digits.sh [DIR]     DIR keeps the set and all files of the training
#
# sha256 and bytes in darknet_py/catalogue.toml are those of the file; another machine's may differ in its last bits.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-$(mktemp -d)}
python=${PYTHON:-python}
export OMP_NUM_THREADS=1

"$python" -m darknet_py digits "$folder"
"$python" -m darknet_py train "$folder/digits.data" cfgs/digits.cfg --out "$folder/run" --seed 1 --device cpu \
    --deterministic --save-every 500 --map-every 500
cp "$folder/run/digits_final.weights" cfgs/digits.weights
"$python" -m darknet_py evaluate cfgs/digits.cfg cfgs/digits.weights "$folder/digits.data"
sha256sum cfgs/digits.weights
