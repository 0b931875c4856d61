#!/usr/bin/env bash
# emulated.sh WORK OPTION...: the package installed in the active environment once more, under WORK/package, its CUDA backend
# one on the emulator, built with these options of CMake in WORK/build. Needs cmake, ninja, pybind11 in that environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$1

installed=$(python -c 'import seq2seq_fast; print(seq2seq_fast.__path__[0])')
version=$(python -c 'import seq2seq_fast; print(seq2seq_fast.__version__)')
cmake -S . -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DS2S_WERROR=ON -DS2S_CUDA=EMULATED -DS2S_CUDA_TESTS=ON \
  -DSKBUILD_PROJECT_VERSION="$version" -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" "${@:2}"
cmake --build "$work/build" --target _cuda_backend _cuda_tests
mkdir -p "$work/package"
cp -r "$installed" "$work/package/"
cp "$work/build/_cuda_backend.so" "$work/build/_cuda_tests.so" "$work/package/seq2seq_fast/"
