#!/usr/bin/env bash
# aarch64.sh WORK: compiles the extension for 64-bit ARM, warnings as errors, and runs the main kernels' tests on an
# emulated processor, with Debian's Python for ARM unpacked under WORK. Needs aarch64-linux-gnu-g++, qemu-aarch64, apt-get with
# Debian's or Ubuntu's sources, and the active environment's cmake, ninja, pybind11.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$1
root=$work/root

# Packages of the other architecture, unpacked rather than installed; apt gets a state of its own, so nothing here changes.
mkdir -p "$work"/{state/lists/partial,cache/archives/partial} "$root"
touch "$work/state/status"
apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$work/state" \
    -o Dir::State::status="$work/state/status" -o Dir::Cache="$work/cache" "$@"
}
apt update
apt install --yes --no-install-recommends --download-only python3-minimal libpython3-stdlib libpython3-dev libstdc++6
for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done

interpreter=("$root"/usr/bin/python3.[0-9]*)
version=${interpreter[0]##*/python}
cat >"$work/python" <<END
#!/bin/sh
exec qemu-aarch64 -L $root ${interpreter[0]} "\$@"
END
chmod +x "$work/python"
python -m pip install --quiet --target "$work/site" --python-version "$version" --only-binary=:all: \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 numpy pytest hypothesis

cmake -S . -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DS2S_WERROR=ON -DS2S_CUDA=OFF -DSKBUILD_PROJECT_VERSION=0 \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DCMAKE_CXX_FLAGS="-idirafter $root/usr/include" -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" \
  -DPython_EXECUTABLE="$work/python" -DPython_INCLUDE_DIR="$root/usr/include/python$version"
cmake --build "$work/build"
cp -r python/seq2seq_fast "$work/site/"
rm -f "$work"/site/seq2seq_fast/_native*.so
cp "$work"/build/_native*.so "$work/site/seq2seq_fast/"

PYTHONPATH=$work/site "$work/python" -c 'import seq2seq_fast; print("Running on", seq2seq_fast.cpu_isa())'
PYTHONPATH=$work/site "$work/python" -m pytest -q -p no:cacheprovider -m "not torch" \
  tests/ops/test_{matmul,compute_types,recurrent,attention}.py
