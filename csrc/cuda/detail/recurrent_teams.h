// Teams: the blocks that share one copy of the weights and hand operands to each other, phase after phase,
// without a barrier: what comes says itself that it has come.
//
//   rows(...)       the operands of a tile's sequences in shared memory, once they are there
//   put(...)        a unit's operand of the next phase, into this block's shared memory
//   hand_over(...)  this block's operands of a tile, to all blocks
//
// There are two slots of operands, used in turn, and nobody writes to a slot too early: a block hands over
// operands of phase q + 1 when it has those of phase q from all blocks, each of which had read those of phase
// q - 1, in whose slot they go, before it handed its own over.
//
// A block has whole granules of the hidden units, so that the pieces it hands over are aligned.
#pragma once

#include "cuda/detail/groups.h"
#include "cuda/detail/recurrent_operands.h"
#include "cuda/detail/recurrent_weights.h"

namespace s2s::cuda {

template <class T>
struct TeamOperands {
  const T* initial;    // [N, pitch[0]] of sequences that begin
  int pitch[2];        // elements; a multiple of 16 bytes
  uint64_t* words[2];  // of a grid: the slots, [N, word_pitch[.]]
  int word_pitch[2];   // even
};

struct TeamShape {
  int blocks;  // of a team
  int teams;   // that share the batch, each with every `teams`th sequence
  int rows;    // of a team's sequences
  int tile;    // sequences multiplied at once, at most kTileRows
};

constexpr int kWordBytes = 4;  // of operands in a word of a grid

// Hidden units that stay together: those of a piece that is handed over at once.
S2S_INLINE int granule_of(int element_bytes, bool cluster) {
  const int bytes = cluster ? kLoadBytes : kWordBytes;
  return bytes > element_bytes ? bytes / element_bytes : 1;
}
// The first unit of block `rank` of `blocks`; the hidden size, of the one behind the last.
S2S_INLINE int first_unit(int hidden, int granule, int rank, int blocks) {
  const int64_t granules = (hidden + granule - 1) / granule;
  const int unit = static_cast<int>(granules * rank / blocks) * granule;
  return unit < hidden ? unit : hidden;
}
S2S_INLINE int most_units(int hidden, int granule, int blocks) {
  const int granules = (hidden + granule - 1) / granule;
  return (granules + blocks - 1) / blocks * granule;
}

// How threads share `width` things of each of some rows without a division: a power of two of them to a row.
class Places {
 public:
  __device__ __forceinline__ Places(int thread, int threads, int width)
      : width_(width), thread_(thread), threads_(threads) {
    shift_ = width > 1 ? 32 - __clz(width - 1) : 0;
    const int most = 31 - __clz(threads);
    shift_ = shift_ < most ? shift_ : most;
    row = thread_ >> shift_;
    place = first();
    skip_missing();
  }
  __device__ __forceinline__ void next() {
    place += 1 << shift_;
    skip_missing();
  }
  int row, place;

 private:
  __device__ __forceinline__ int first() const { return thread_ & ((1 << shift_) - 1); }
  __device__ __forceinline__ void skip_missing() {
    if (place < width_) return;
    place = first();
    row = place < width_ ? row + (threads_ >> shift_) : 1 << 30;
  }
  int width_, thread_, threads_, shift_;
};

// Copies `rows` rows of 16-byte words, by the whole block.
template <class T, class From>
__device__ __forceinline__ void copy_rows(T* to, int to_pitch, int rows, int width, const From& from) {
  const int words = width * static_cast<int>(sizeof(T)) / kLoadBytes;
  for (int r = 0; r < rows; ++r) {
    for (int w = static_cast<int>(threadIdx.x); w < words; w += static_cast<int>(blockDim.x))
      reinterpret_cast<uint4*>(to + int64_t{r} * to_pitch)[w] =
          __ldcg(reinterpret_cast<const uint4*>(from(r)) + w);
  }
}

// What both kinds know.
template <class Cell, bool CLUSTER>
struct TeamBlock {
  using T = TeamOperand<typename Cell::Element>;
  static constexpr bool kCluster = CLUSTER;

  const Cell& cell;
  const TeamOperands<T>& operands;
  const TeamShape& shape;
  Part part;
  int rank, u0, units;  // the block's

  __device__ TeamBlock(const Cell& of, const TeamOperands<T>& all, const TeamShape& team)
      : cell(of),
        operands(all),
        shape(team),
        part{static_cast<int>(blockIdx.x) / team.blocks, team.teams},
        rank(static_cast<int>(blockIdx.x) % team.blocks) {
    const int granule = granule_of(sizeof(T), CLUSTER);
    u0 = first_unit(cell.hidden, granule, rank, shape.blocks);
    units = first_unit(cell.hidden, granule, rank + 1, shape.blocks) - u0;
  }
  __device__ __forceinline__ int pitch(int s) const { return s ? operands.pitch[1] : operands.pitch[0]; }
  // Which of a row's runs the thing `place` belongs to, of `length` each; `place` counts within it from then
  // on.
  template <int RUNS>
  __device__ __forceinline__ static int run_of(int& place, int length) {
    int run = 0;
#pragma unroll
    for (int r = 1; r < RUNS; ++r) {
      if (place >= length) {
        place -= length;
        ++run;
      }
    }
    return run;
  }
};

// Any blocks that are on the device at once. Operands go through global memory in words of eight bytes: four
// of operands, and the number of the phase which they are for.
template <class Cell>
struct GridTeam : TeamBlock<Cell, false> {
  using Base = TeamBlock<Cell, false>;
  using T = typename Base::T;
  using Base::cell, Base::operands, Base::shape, Base::part, Base::rank, Base::u0, Base::units;
  static constexpr int kElements = kWordBytes / static_cast<int>(sizeof(T));  // of a word

  T* tiles[2];  // shared: the operands of one tile, of each phase
  T* own;       // shared: [tile][runs][own_pitch], what this block hands over
  int own_pitch;

  __device__ GridTeam(const Cell& of, const TeamOperands<T>& all, const TeamShape& team, T* const (&slots)[2],
                      T* put_here, simt::Arrival*)
      : Base(of, all, team),
        tiles{slots[0], slots[1]},
        own(put_here),
        own_pitch((units + kElements - 1) / kElements * kElements) {}

  // Padding is zero.
  __device__ void begin() {
    for (int s = 0; s < 2; ++s) {
      for (int e = static_cast<int>(threadIdx.x); e < shape.tile * this->pitch(s);
           e += static_cast<int>(blockDim.x))
        (s ? tiles[1] : tiles[0])[e] = T{};
    }
    for (int e = static_cast<int>(threadIdx.x); e < shape.tile * kMostPuts<Cell> * own_pitch;
         e += static_cast<int>(blockDim.x))
      own[e] = T{};
    __syncthreads();
  }
  __device__ void wait(int, bool) {}
  template <int PHASE>
  __device__ void expect(int, int) const {}
  __device__ void end() {}

  // The operands of the local sequences [first, first + rows), of which those from `old` on begin, from h0.
  template <int PHASE>
  __device__ __forceinline__ const T* rows(unsigned number, int s, int first, int rows, int old) {
    T* tile = s ? tiles[1] : tiles[0];
    const int known = min(max(old - first, 0), rows);
    if (known < rows) {
      const int width = this->pitch(s);
      copy_rows(tile + known * width, width, rows - known, width,
                [&](int r) { return operands.initial + int64_t{part.sequence(first + known + r)} * width; });
    }
    // Two words at a time where they lie so.
    const int words = words_of<PHASE>();
    if (Cell::kSegments == 1 && words % 2 == 0)
      fetch<PHASE, 2>(tile, number, s, first, known, words);
    else
      fetch<PHASE, 1>(tile, number, s, first, known, words);
    __syncthreads();
    return tile;
  }

  template <int PHASE>
  __device__ __forceinline__ void put(int, int row, int, int run, int unit, T value) const {
    own[(row * kPutsOf<Cell, PHASE> + run) * own_pitch + unit] = value;
  }

  // Of the local sequences [first, first + count), to slot s, for the phase of that number.
  template <int PHASE>
  __device__ __forceinline__ void hand_over(unsigned number, int s, int first, int count) const {
    constexpr int kRuns = kPutsOf<Cell, PHASE>;
    __syncthreads();
    uint64_t* to = s ? operands.words[1] : operands.words[0];
    const int pitch = s ? operands.word_pitch[1] : operands.word_pitch[0], length = own_pitch / kElements;
    for (Places at(static_cast<int>(threadIdx.x), kPersistentThreads, kRuns * length); at.row < count;
         at.next()) {
      int word = at.place;
      const int run = Base::template run_of<kRuns>(word, length);
      uint32_t bits = 0;
      const T* from = own + (at.row * kRuns + run) * own_pitch + word * kElements;
      if constexpr (sizeof(T) == 4)
        bits = __float_as_uint(*from);
      else
        bits = *reinterpret_cast<const uint32_t*>(from);
      const int column = cell.template put_column<PHASE>(run) + u0;
      simt::store_relaxed(to + int64_t{part.sequence(first + at.row)} * pitch + column / kElements + word,
                          uint64_t{number} << 32 | bits);
    }
  }

 private:
  // Words of a row's operands, segment after segment.
  template <int PHASE>
  __device__ __forceinline__ int words_of() const {
    int words = 0;
#pragma unroll
    for (int s = 0; s < Cell::kSegments; ++s)
      words += (matrix_of<PHASE>(cell, s).depth + kElements - 1) / kElements;
    return words;
  }
  // Where word w of a row lies: each segment begins aligned.
  template <int PHASE>
  __device__ __forceinline__ int word_at(int w) const {
    if constexpr (Cell::kSegments == 1) return w;
    const int depth = matrix_of<PHASE>(cell, 0).depth, first = (depth + kElements - 1) / kElements;
    return w < first ? w : w - first + static_cast<int>(row_pitch<T>(depth)) / kElements;
  }

  // Waits for each word by itself; several are under way at a time.
  template <int PHASE, int TOGETHER>
  __device__ __forceinline__ void fetch(T* tile, unsigned number, int s, int first, int rows,
                                        int words) const {
    constexpr int kUnderWay = 2;
    const int pitch = s ? operands.word_pitch[1] : operands.word_pitch[0], to_pitch = this->pitch(s);
    const uint64_t* from =
        (s ? operands.words[1] : operands.words[0]) + int64_t{part.sequence(first)} * pitch;
    const int row_pitch = part.parts * pitch;
    Places at(static_cast<int>(threadIdx.x), kPersistentThreads, words / TOGETHER);
    while (at.row < rows) {
      int source[kUnderWay], target[kUnderWay];
      uint64_t value[kUnderWay][TOGETHER];
#pragma unroll
      for (int i = 0; i < kUnderWay; ++i) {
        target[i] = -1;
        if (at.row >= rows) continue;
        const int w = word_at<PHASE>(at.place * TOGETHER);
        target[i] = at.row * to_pitch + w * kElements;
        source[i] = at.row * row_pitch + w;
        load_words(from + source[i], value[i]);
        at.next();
      }
#pragma unroll
      for (int i = 0; i < kUnderWay; ++i) {
        if (target[i] < 0) break;
        while (!came(value[i], number)) load_words(from + source[i], value[i]);
        store_words(tile + target[i], value[i]);
      }
    }
  }
  static __device__ __forceinline__ void load_words(const uint64_t* from, uint64_t (&value)[1]) {
    value[0] = simt::load_relaxed(from);
  }
  static __device__ __forceinline__ void load_words(const uint64_t* from, uint64_t (&value)[2]) {
    simt::load_relaxed(from, value);
  }
  template <int TOGETHER>
  static __device__ __forceinline__ bool came(const uint64_t (&value)[TOGETHER], unsigned number) {
    bool all = true;
#pragma unroll
    for (int i = 0; i < TOGETHER; ++i) all = all && static_cast<unsigned>(value[i] >> 32) == number;
    return all;
  }
  static __device__ __forceinline__ void store_words(T* to, const uint64_t (&value)[1]) {
    *reinterpret_cast<unsigned*>(to) = static_cast<unsigned>(value[0]);
  }
  static __device__ __forceinline__ void store_words(T* to, const uint64_t (&value)[2]) {
    *reinterpret_cast<uint2*>(to) =
        make_uint2(static_cast<unsigned>(value[0]), static_cast<unsigned>(value[1]));
  }
};

// A thread-block cluster (from sm_90). Every block keeps all operands of the team's sequences in its shared
// memory, and writes what it has computed into that of every other, which counts what comes (ptx.h, Arrival).
template <class Cell>
struct ClusterTeam : TeamBlock<Cell, true> {
  using Base = TeamBlock<Cell, true>;
  using T = typename Base::T;
  using Base::cell, Base::operands, Base::shape, Base::part, Base::rank, Base::u0, Base::units;

  T* slots[2];             // shared: [shape.rows, pitch[.]]
  simt::Arrival* arrival;  // shared: of each slot
  unsigned parity = 0;     // bit s: of slot s

  __device__ ClusterTeam(const Cell& of, const TeamOperands<T>& all, const TeamShape& team,
                         T* const (&shared)[2], T*, simt::Arrival* arrivals)
      : Base(of, all, team), slots{shared[0], shared[1]}, arrival(arrivals) {}

  __device__ __forceinline__ T* slot(int s) const { return s ? slots[1] : slots[0]; }

  // Padding is zero; and nobody writes to a block that has not begun.
  __device__ void begin() {
    for (int s = 0; s < 2; ++s) {
      for (int e = static_cast<int>(threadIdx.x); e < shape.rows * this->pitch(s);
           e += static_cast<int>(blockDim.x))
        slot(s)[e] = T{};
    }
    if (threadIdx.x < 2) simt::arrival_start(arrival + threadIdx.x);
    cooperative_groups::this_cluster().sync();
  }
  // Until all has come that was handed over for this phase, if anything was.
  __device__ __forceinline__ void wait(int s, bool handed) {
    if (!handed) return;
    simt::arrival_wait(arrival + s, parity >> s & 1);
    parity ^= 1u << s;
  }
  // Nor to one that has ended: what is handed over is waited for, and whoever waits for me has all of mine.
  __device__ void end() { cooperative_groups::this_cluster().sync(); }

  template <int PHASE>
  __device__ __forceinline__ const T* rows(unsigned, int s, int first, int rows, int old) {
    const int width = this->pitch(s), known = min(max(old - first, 0), rows);
    if (known < rows) {
      copy_rows(slot(s) + (first + known) * width, width, rows - known, width,
                [&](int r) { return operands.initial + int64_t{part.sequence(first + known + r)} * width; });
      __syncthreads();
    }
    return slot(s) + first * width;
  }

  template <int PHASE>
  __device__ __forceinline__ void put(int s, int, int local, int run, int unit, T value) const {
    slot(s)[local * this->pitch(s) + cell.template put_column<PHASE>(run) + u0 + unit] = value;
  }

  // How many sequences are about to be handed over to slot s.
  template <int PHASE>
  __device__ __forceinline__ void expect(int s, int count) const {
    if (threadIdx.x == 0)
      simt::arrival_expect(arrival + s, count * kPutsOf<Cell, PHASE> *
                                            (run_bytes<PHASE>(cell.hidden) - run_bytes<PHASE>(units)));
  }

  template <int PHASE>
  __device__ __forceinline__ void hand_over(unsigned, int s, int first, int count) const {
    __syncthreads();
    if (pieces_of_16<PHASE>())
      send<PHASE, uint4>(s, first, count);
    else
      send<PHASE, uint32_t>(s, first, count);
  }

 private:
  // Whether every run of a row begins at a multiple of 16 bytes.
  template <int PHASE>
  __device__ __forceinline__ bool pieces_of_16() const {
    return kPutsOf<Cell, PHASE> == 1 || cell.hidden % granule_of(sizeof(T), true) == 0;
  }
  template <int PHASE>
  __device__ __forceinline__ int run_bytes(int count) const {
    const int bytes = count * static_cast<int>(sizeof(T));
    return pieces_of_16<PHASE>() ? (bytes + kLoadBytes - 1) / kLoadBytes * kLoadBytes : bytes;
  }

  // A warp has some of the other blocks, its lanes the pieces.
  template <int PHASE, class Piece>
  __device__ __forceinline__ void send(int s, int first, int count) const {
    constexpr int kRuns = kPutsOf<Cell, PHASE>;
    const int length = run_bytes<PHASE>(units) / static_cast<int>(sizeof(Piece)), width = this->pitch(s);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    for (Places at(static_cast<int>(threadIdx.x) % 32, 32, kRuns * length); at.row < count; at.next()) {
      int piece = at.place;
      const int run = Base::template run_of<kRuns>(piece, length);
      Piece* p = reinterpret_cast<Piece*>(slot(s) + (first + at.row) * width +
                                          cell.template put_column<PHASE>(run) + u0) +
                 piece;
      const Piece value = *p;
      // Another block first from every block, so that not all write to one.
      for (int b = 1 + warp; b < shape.blocks; b += kPersistentWarps) {
        const int to = rank + b < shape.blocks ? rank + b : rank + b - shape.blocks;
        simt::store_async(p, value, arrival + s, static_cast<unsigned>(to));
      }
    }
  }
};

}  // namespace s2s::cuda
