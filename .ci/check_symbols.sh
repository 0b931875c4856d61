#!/usr/bin/env bash
# check_symbols.sh BUILD: the rule of docs/architecture.md for the objects that are compiled once per instruction set.
# The linker keeps one of all equal weak symbols, from whichever object comes first: a std::vector member compiled for
# AVX-512 could so end up in code that runs everywhere. So these objects may define no weak symbol, use no container of the
# standard library, and define global symbols only in the namespace that is named after their instruction set.
set -euo pipefail

found=0
failed=0
complain() { # text, the offending symbols
  [[ -z $2 ]] && return
  printf '%s\n%s\n' "$1" "$(head -n 10 <<<"$2")"
  failed=1
}

while IFS= read -r object; do
  found=$((found + 1))
  isa=${object##*/s2s_cpu_}
  isa=${isa%%.dir/*}
  symbols=$(nm --demangle "$object")
  complain "$object defines weak symbols:" "$(grep -E '^[0-9a-f]+ [VWu] ' <<<"$symbols" || true)"
  complain "$object uses containers of the standard library:" \
    "$(grep -E ' std::(__cxx11::)?(vector|basic_string|map|unordered_map|set|deque|list|function|shared_ptr)\b' <<<"$symbols" || true)"
  complain "$object defines symbols outside namespace s2s::$isa:" \
    "$(grep -E '^[0-9a-f]+ [BCDGRST] ' <<<"$symbols" | grep -v "s2s::$isa::" || true)"
done < <(find "$1" -path '*/s2s_cpu_*.dir/*.o')

if ((found == 0)); then
  echo "No objects of instruction sets (s2s_cpu_<isa>.dir/*.o) under $1."
  exit 1
fi
((failed == 0)) && echo "$found objects: no weak symbols, no containers, nothing outside their namespaces."
