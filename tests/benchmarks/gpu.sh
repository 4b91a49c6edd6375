#!/usr/bin/env bash
# Speed on a GPU with Keras on JAX, on a machine without a network: bash tests/benchmarks/gpu.sh [WHEELS]
# WHEELS: a folder with wheels of what the machine's Python lacks (keras, h5py, pandas, scikit-learn, librosa, ...).
set -euo pipefail
cd "$(dirname "$0")/../.."
export KERAS_BACKEND=jax PYTHONPATH=$PWD
if [ $# -gt 0 ]; then
  python3 -m pip install --quiet --no-index --find-links "$1" keras h5py pandas scikit-learn librosa joblib lazy-loader filelock pooch av soundfile
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || echo "no GPU: the figures are of the processor"
python3 -m tests.benchmarks.gpu
