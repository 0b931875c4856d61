// EncoderStream: an encoder in one direction that is given its sequence in chunks, and gives the states of
// its top layer as soon as they are known: with the bits of the whole sequence's run.
#pragma once

#include <memory>
#include <mutex>

#include "model/network.h"

namespace s2s::model {

class EncoderStream {
 public:
  // The network's weights are those of now. Throws std::invalid_argument for one in both directions, or one
  // that copies.
  explicit EncoderStream(std::shared_ptr<const Network> network);

  // ids [s] or features [s, C], s of at least 0 -> the states [s', M] that are new.
  Tensor push(const Tensor& values);
  // The sequence has ended: the last states. Nothing may be pushed any more.
  Tensor finish();

  // Once it has ended.
  const Memory& memory() const;
  Tensor source_lengths() const;  // int32 [1]
  const std::shared_ptr<const Network>& network() const { return network_; }

 private:
  // A window's inputs: those that later outputs still need.
  struct Inputs {
    Tensor rows;                                 // [n, W] undefined: none
    int64_t first = 0, received = 0, given = 0;  // number of rows' first; inputs so far, outputs so far
  };
  std::unique_lock<std::mutex> enter();
  Tensor advance(Tensor x, bool end);
  Tensor window(const TimeWindow& window, const Tensor& x, bool end, Inputs& inputs) const;

  std::mutex mutex_;
  std::shared_ptr<const Network> network_;
  std::shared_ptr<const PackedNetwork> packed_;
  std::vector<Inputs> conv_, segments_;
  std::vector<RecurrentStack::States> states_;  // of each segment
  RecurrentStack::Scratch scratch_;
  std::vector<Tensor> outputs_;
  int64_t received_ = 0;
  bool ended_ = false;
  Memory memory_;
};

}  // namespace s2s::model
