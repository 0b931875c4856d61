// Context: the function q that makes c_t from the memory: attention (dot, general, mlp), the last state, or
// the mean.
#pragma once

#include "model/encoder.h"
#include "model/linear.h"
#include "ops/attention.h"

namespace s2s::model {

class Context {
 public:
  Context() = default;
  static void declare(Parameters& all, const Config& config);
  Context(const Parameters& all, const Config& config);

  // The weights by which mlp attention sees what it has attended to; float32: a few columns.
  struct Tracking {
    ops::Packed coverage, filter, location;
  };
  // The weights in the layout of the device.
  struct Packed {
    ops::Packed key;    // general and mlp
    ops::Packed query;  // mlp
    Tracking tracking;  // where there is one
  };
  Packed pack(ComputeType type = ComputeType::float32) const;

  // The memory made ready for many queries.
  struct Prepared {
    ops::Attention attention;  // keys, values, offsets, energy
    Tensor fixed;              // [N, M] for last and mean
    Tensor combined;           // [N, F] what it adds to the attentional layer, where that is computed ahead
    ops::Packed query;         // mlp
    Tracking tracking;
  };
  Prepared prepare(const Packed& packed, const Memory& memory) const;

  // How much of the source the steps before have attended to, or the last one: a part of mlp's keys, which
  // each row then has of its own: place by place (See et al. 2017), or by filters over the places around
  // (Chorowski et al. 2015).
  struct Covered {
    Tensor sum;  // [rows, longest] of the weights of the steps before
    Tensor
        places;  // int32 [rows, longest] the row of the memory's states at each place; any one past the end
  };
  // Of these rows' sources, on the host.
  static void fill_places(const Memory& memory, const Tensor& example, const Tensor& places);

  // h [rows, Hd] (a view of columns), row r belonging to source example[r] -> context [rows, M] (a view of
  // columns) and weights [rows, longest]. query [rows, A] is written for mlp, and kept for backward.
  void forward(const Prepared& prepared, const Tensor& h, const Tensor& example, const Covered& covered,
               const Tensor& context, const Tensor& weights, const Tensor& query) const;

  struct Gradient {
    Tensor dkeys;       // [sum S, A]; for dot and general
    Tensor dvalues;     // [sum S, M]
    Tensor denergy;     // [N, A]
    Tensor dfixed;      // [N, M]
    ops::Packed query;  // mlp: for the product with dquery
    Tracking tracking;
  };
  Gradient start_backward(const Memory& memory, const Prepared& prepared) const;
  // dcoverage [rows, longest], of covered.sum, is written where there is one.
  // dcontext, and from_weights [rows, longest] where the weights are used elsewhere, -> dh added to; dquery
  // [rows, A] is scratch for dot and general, kept for finish_backward for mlp.
  void backward(const Prepared& prepared, const Gradient& gradient, const Tensor& h, const Tensor& example,
                const Covered& covered, const Tensor& context, const Tensor& weights, const Tensor& query,
                const Tensor& dcontext, const Tensor& from_weights, const Tensor& dcoverage,
                const Tensor& dquery, const Tensor& dh) const;
  // All rows of h and dquery at once -> gradient of the memory added to, and of the parameters.
  void finish_backward(const Memory& memory, const Gradient& gradient, const Tensor& h, const Tensor& dquery,
                       const Memory& dmemory) const;

 private:
  // What the filters make of what is covered: each place's window, and their outputs.
  struct Located {
    Tensor windows, features;  // [rows * longest, width], [rows * longest, filters]
  };
  Located locate(const Tracking& tracking, const Tensor& sum) const;
  ops::Attention with_coverage(const Prepared& prepared, const Covered& covered) const;
  void coverage_backward(const Prepared& prepared, const Gradient& gradient, const Covered& covered,
                         const Tensor& dkeys, const Tensor& dcoverage) const;

  Config config_;
  Linear key_, query_, coverage_, filter_, location_;
  Parameter energy_;
};

}  // namespace s2s::model
