#!/usr/bin/env bash
# Train cfgs/digits.weights again: the set of seed 0, the recipe of cfgs/digits.cfg, seed 1, one thread of the CPU.
#
#   tools/train_digits.sh [DIR]     DIR keeps the set and all files of the training
#
