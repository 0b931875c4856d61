#!/usr/bin/env bash
# check_wheel.sh DIST: DIST holds a source distribution and a wheel. The one must hold what a build needs and nothing that a
# build leaves behind; the other must be small and link nothing but the C and C++ libraries, so that auditwheel gives it the
# name of a manylinux policy: DIST/repaired/*.whl.
set -euo pipefail

sdist=$(echo "$1"/*.tar.gz)
wheel=$(echo "$1"/*.whl)

files=$(tar -tzf "$sdist" | cut -d/ -f2-)
for file in CMakeLists.txt LICENSE README.md cmake/{instruction_sets,cuda}.cmake csrc/cpu/vec.h csrc/cuda/table.h tests/simt/emulator.h python/seq2seq_fast/py.typed tests/conftest.py; do
  grep -qx "$file" <<<"$files" || { echo "$sdist lacks $file."; exit 1; }
done
if grep -E '(^|/)(build|dist|\.git|\.venv|__pycache__)/|\.(so|o|pyc)$' <<<"$files"; then
  echo "$sdist holds what a build or a run left behind."
  exit 1
fi

files=$(python -m zipfile -l "$wheel")
libraries=$(grep -o 'seq2seq_fast/[^ ]*\.so ' <<<"$files" | sed -E 's/\.[^ ]*//' | sort | xargs)
case $libraries in
  seq2seq_fast/_native) most=5000000 ;;
  "seq2seq_fast/_cuda_backend seq2seq_fast/_native") most=15000000 ;;
  *)
    echo "$wheel holds the libraries $libraries: not the extension, alone or with the CUDA backend."
    exit 1
    ;;
esac
grep -q 'seq2seq_fast/py\.typed ' <<<"$files" || { echo "$wheel lacks py.typed."; exit 1; }
size=$(stat -c %s "$wheel")
if ((size > most)); then
  echo "$wheel has $size bytes, more than $most."
  exit 1
fi

auditwheel repair --wheel-dir "$1/repaired" "$wheel" >/dev/null 2>&1 || auditwheel repair --wheel-dir "$1/repaired" "$wheel"
repaired=$(echo "$1"/repaired/*.whl)
if python -m zipfile -l "$repaired" | grep '\.libs/'; then
  echo "$wheel links more than the C and C++ libraries."
  exit 1
fi
echo "$(basename "$sdist"), $(stat -c %s "$sdist") bytes; $(basename "$repaired"), $size bytes."
