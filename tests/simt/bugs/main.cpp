// bugs list               names of the cases
// bugs right SCHEDULE...   all right versions; bugs wrong NAME SCHEDULE...   one mistake
// Prints what is wrong, if anything, and then returns 1 (a sanitizer ends the program its own way).
#include <cstdio>
#include <cstring>
#include <exception>

#include "bugs.h"
#include "simt_schedule.h"

namespace {

std::string outcome(s2s::cuda::Check check) {
  try {
    return check();
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

int main(int count, char** words) {
  std::vector<s2s::cuda::Case> cases;
  for (const auto* some :
       {&s2s::cuda::block_cases, &s2s::cuda::grid_cases, &s2s::cuda::cluster_cases, &s2s::cuda::tile_cases})
    cases.insert(cases.end(), some->begin(), some->end());
  const std::string what = count > 1 ? words[1] : "list";
  if (what == "list")
    for (const auto& c : cases) std::puts(c.name);

  bool any = false;
  for (int i = what == "right" ? 2 : 3; i < count; ++i) {
    if (!s2s_simt_schedule(words[i])) {
      std::printf("no schedule: %s\n", words[i]);
      return 2;
    }
    for (const auto& c : cases) {
      if (what == "wrong" && std::strcmp(c.name, words[2]) != 0) continue;
      const std::string text = outcome(what == "right" ? c.right : c.wrong);
      if (text.empty()) continue;
      std::printf("%s, %s: %s\n", c.name, words[i], text.c_str());
      any = true;
    }
  }
  return any ? 1 : 0;
}
