#include "search/workspace.h"

namespace s2s {

void LiveRows::resize(int64_t rows) {
  parents.resize(rows);
  tokens.resize(rows);
  sources.resize(rows);
  units.resize(rows);
  nodes.resize(rows);
  log_probs.resize(rows);
  over.resize(rows);
}

void LiveRows::copy(int64_t from, int64_t to) {
  parents[to] = parents[from];
  tokens[to] = tokens[from];
  sources[to] = sources[from];
  units[to] = units[from];
  nodes[to] = nodes[from];
  log_probs[to] = log_probs[from];
  over[to] = over[from];
}

void LiveRows::add(int32_t parent, int32_t token, int32_t source, int32_t unit, int64_t node, double log_prob,
                   bool ended) {
  parents.push_back(parent);
  tokens.push_back(token);
  sources.push_back(source);
  units.push_back(unit);
  nodes.push_back(node);
  log_probs.push_back(log_prob);
  over.push_back(ended);
}

}  // namespace s2s
