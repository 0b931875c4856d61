#!/usr/bin/env bash
# check_instructions.sh BUILD: no object holds instructions that the processors it is meant for may lack. It looks at what
# was compiled, so it also sees an intrinsic that brought its own instruction set along, and it covers those no machine of
# ours can run. Objects outside the kernels run everywhere: they are held to what the weakest set is.
set -euo pipefail

wide='%[yz]mm|%k[0-7]'
evex='%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])'
vnni='[[:space:]]vpdp'
bf16='[[:space:]]vdpbf16|[[:space:]]vcvtne'
fp16='[[:space:]]v((add|sub|mul|div|max|min|sqrt|rcp|rsqrt|cmp|getexp|fn?m(add|sub)[0-9]+|fc?m(add|ul)c)[ps]h|movw|movsh|cvt(ps2phx|ph2psx|u?w2ph|ph2u?w|tph2[a-z]*))[[:space:]]'
found=0
failed=0
while IFS= read -r object; do
  found=$((found + 1))
  isa=weakest
  [[ $object == */s2s_cpu_*.dir/* ]] && isa=${object##*/s2s_cpu_} && isa=${isa%%.dir/*}
  case $isa in
    weakest | sse4) foreign="$wide|[[:space:]]v[a-z0-9]+[[:space:]]" ;;
    avx2) foreign="$evex|$vnni|$bf16|$fp16" ;;
    avx512) foreign="$vnni|$bf16|$fp16" ;;
    avx512vnni) foreign="$bf16|$fp16" ;;
    avx512bf16) foreign="$fp16" ;;
    neon | generic) continue ;;
    *) printf '%s: what may processors of the set %s lack? Say it here.\n' "$object" "$isa"; failed=1; continue ;;
  esac
  stray=$(objdump --disassemble --no-show-raw-insn "$object" | grep -m 5 -E "$foreign" || true)
  if [[ -n $stray ]]; then
    printf '%s has instructions beyond %s:\n%s\n' "$object" "$isa" "$stray"
    failed=1
  fi
done < <(find "$1" -path '*.dir/*.o')

if ((found == 0)); then
  echo "No objects (*.dir/*.o) under $1."
  exit 1
fi
((failed == 0)) && echo "$found objects: no instruction beyond their sets."
