#include "search/certain.h"

#include <utility>

#include "search/step.h"

namespace s2s {

namespace {

constexpr int64_t kOver = -1;  // in place of the last node told: all of it is

// The last token that two hypotheses of a source share. A node's number is above its parent's.
int64_t common(const History& history, int64_t a, int64_t b) {
  while (a != b) {
    if (a > b) std::swap(a, b);
    b = history.parent(b);
  }
  return a;
}

// Tells what has become certain of a unit that goes on in the rows begin .. end of next. Whether it is to
// stop.
bool tell(const SearchOptions& options, SearchWorkspace& workspace, int32_t source, int64_t unit,
          int64_t begin, int64_t end) {
  const History& history = workspace.history;
  int64_t& told = workspace.told[unit];
  if (told == kOver) return false;
  const auto best = workspace.ranking.best(unit);
  const bool over = begin == end;
  if (over && best.empty()) return false;  // one of several whose turn has not come
  int64_t node = over ? best[0].node : workspace.next.nodes[begin];
  for (int64_t row = begin; row < end; ++row) node = common(history, node, workspace.next.nodes[row]);
  if (!over && !best.empty() && best[0].finished) node = common(history, node, best[0].node);

  auto& path = workspace.path;
  path.clear();
  for (int64_t n = node; n != told; n = history.parent(n)) path.push_back(n);
  bool stop = false;
  for (auto n = path.rbegin(); n != path.rend() && !stop; ++n) {
    const bool last = over && *n == node;
    stop =
        options.listener->hear({source, static_cast<int32_t>(unit % units_of(options)),
                                workspace.num_told[unit]++, history.token(*n), history.log_prob(*n), last});
  }
  told = over || stop ? kOver : node;
  return stop;
}

}  // namespace

void tell_certain(const Stepper& stepper, const SearchOptions& options, int64_t step,
                  SearchWorkspace& workspace) {
  const LiveRows& live = workspace.live;
  LiveRows& next = workspace.next;
  const int64_t units = units_of(options);
  int64_t begin = 0, kept = 0;
  for (int64_t row = 0; row < live.size(); ++row) {
    const int32_t source = live.sources[row];
    if (row > 0 && live.sources[row - 1] == source) continue;
    for (int64_t unit = source * units; unit < (source + 1) * units; ++unit) {
      int64_t end = begin;
      while (end < next.size() && next.units[end] == unit) ++end;
      const bool stops = tell(options, workspace, source, unit, begin, end);
      for (int64_t r = begin; r < end; ++r) {
        if (stops) {
          rank(stepper, options, workspace, source, static_cast<int32_t>(unit), next.nodes[r],
               next.log_probs[r], step + 1, false);
        } else {
          next.copy(r, kept++);
        }
      }
      begin = end;
    }
  }
  next.resize(kept);
}

}  // namespace s2s
