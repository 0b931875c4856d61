// What a hypothesis begins with.
#include <algorithm>
#include <utility>

#include "search/processor.h"

namespace s2s {

namespace {

class Prefix final : public Processor {
 public:
  explicit Prefix(const SearchOptions& options) : prefixes_(options.target_prefix) {
    for (const auto& prefix : prefixes_) longest_ = std::max(longest_, static_cast<int64_t>(prefix.size()));
  }

  bool active(int64_t step) const override { return step < longest_; }

  int32_t forced(const RowView& row) const override {
    const auto& prefix = prefixes_[static_cast<size_t>(row.source)];
    return row.length < static_cast<int64_t>(prefix.size()) ? prefix[static_cast<size_t>(row.length)] : -1;
  }

  bool concerns(const RowView& row) const override { return forced(row) >= 0; }

  void process(const RowView&, std::span<float>) override {}

 private:
  const std::vector<std::vector<int32_t>> prefixes_;  // of each source
  int64_t longest_ = 0;
};

}  // namespace

ProcessorPtr make_prefix(const SearchOptions& options) {
  return std::make_unique<Prefix>(options);
}

}  // namespace s2s
