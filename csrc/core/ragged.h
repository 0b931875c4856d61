// Ragged: sequences of different lengths laid out time-major without padding, longest first, as PyTorch's
// PackedSequence does. Row offsets[t] + i is step t of the i-th longest sequence; batch_sizes[t] sequences
// are longer than t.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace s2s {

struct Ragged {
  Ragged(const int32_t* lengths, int64_t count);   // lengths of at least 0, in any order
  static Ragged single_step(int64_t count);        // `count` sequences of one step; has no order
  void set_single_step(int64_t count);             // the same in place
  void set_uniform(int64_t count, int64_t steps);  // all of one length, in place; has no order

  int64_t sequences() const { return count; }
  int64_t steps() const { return static_cast<int64_t>(batch_sizes.size()); }
  int64_t rows() const { return offsets.back(); }
  int64_t row(int64_t t, int64_t i) const { return offsets[static_cast<std::size_t>(t)] + i; }

  int64_t count = 0;             // N
  std::vector<int32_t> lengths;  // [N] descending
  std::vector<int32_t>
      order;  // [N] order[i] is the caller's index of the i-th longest (ties in the caller's order)
  std::vector<int32_t> position;     // [N] inverse of order
  std::vector<int64_t> batch_sizes;  // [T]
  std::vector<int64_t> offsets;      // [T + 1]
 private:
  Ragged() = default;
};

}  // namespace s2s
