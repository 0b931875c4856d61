// DecodeWorkspace: what decoding keeps between steps and between calls, so that a warm loop over time
// allocates nothing. One call at a time, and calls of one network.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/output.h"
#include "search/workspace.h"

namespace s2s::model {

struct PackedNetwork;

// The buffers of a step, with room for the most rows there were; a step adjusts the views' rows in place.
struct StepBuffers {
  void reserve(const Decoder& decoder, const Config& config, int64_t rows, int64_t longest);

  int64_t room = 0;  // rows
  Ragged ragged = Ragged::single_step(0);
  Decoder::Rows rows;                   // what a step writes
  std::vector<State> initial, written;  // the states before and after it
  Tensor feed;                          // [rows, F] a_{t-1}; undefined without input feeding
  Tensor parents, previous_example;     // int32 [rows]
  // Of rows.weights, rows.covered.sum, the next one and rows.covered.places: as wide as each call's longest
  // source.
  Tensor weights_memory, covered_memory, next_covered_memory, places_memory;
  Tensor next_covered;         // [rows, longest] of the weights of the steps before
  Tensor host_weights;         // [rows, longest] of a device's weights
  Tensor gate, mass, mixture;  // of [rows, 1], [rows, longest], [rows, V + extra], where the network copies
  // [rows, V] on the host and [rows, shortlist], made where a search asks for scores
  Tensor logits, short_logits;
  std::vector<float> best_log_probs;  // [rows, best] continuations before those forbidden are left out
  std::vector<int32_t> best_tokens;
  std::vector<int32_t> concerned;  // rows whose scores a processor may change
};

// The part of the output layer that computes one vocabulary's columns, kept while calls ask for the same.
struct Shortlist {
  const Shortlist& of_vocabulary(const std::shared_ptr<const PackedNetwork>& packed,
                                 std::span<const int32_t> vocabulary);

  std::vector<int32_t> ids;  // ascending
  Output::Packed output;
  std::weak_ptr<const PackedNetwork> of;  // whose columns they are
};

struct DecodeWorkspace {
  StepBuffers step;
  Shortlist shortlist;
  SearchWorkspace search;
};

}  // namespace s2s::model
