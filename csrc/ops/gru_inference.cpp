#include "ops/gru_inference.h"

#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/scratch.h"
#include "ops/sequence.h"

namespace s2s::ops {

void gru_inference(const Ragged& ragged, Range steps, bool reverse, bool reset_after, const Tensor& gates,
                   const PackedGru& weights, const Tensor& b_hh, const Tensor& h0, const Tensor& bounds,
                   const Tensor& y, const Tensor& hn) {
  const char* op = "gru_inference";
  const SequenceShape shape = sequence_shape(ragged, steps, weights.w_hh.shape.k, reverse);
  const int64_t N = shape.sequences, R = shape.offsets[shape.steps] - shape.offsets[0],
                H = weights.w_hh.shape.k;
  check(op, weights.w_hh.shape.type != ComputeType::bfloat16_pairs, "Expected weights packed for inference.");
  check(op, weights.w_hh.shape.gates == (reset_after ? 3 : 2), "Expected w_hh packed for this variant.");
  expect(op, "gates", gates, {R, 3 * H});
  expect(op, "b_hh", b_hh, {3 * H});
  if (h0.defined()) expect(op, "h0", h0, {N, H});
  if (bounds.defined()) expect(op, "bounds", bounds, {N});
  expect(op, "y", y, {R, H});
  expect(op, "hn", hn, {N, H});
  for (const Tensor* t : {&gates, &h0, &hn}) expect_contiguous(op, "every argument but y", *t);
  const Device device =
      common_device(op, {&gates, &weights.w_hh.data, &weights.w_hn.data, &b_hh, &h0, &bounds, &y, &hn});
  const int64_t states = gru_scratch_bytes(N, H);
  char* scratch = static_cast<char*>(scratch_on(device, states + N * 4));
  Tensor own;  // bounds of a walk in one part
  if (!bounds.defined() && device.is_cpu()) {
    own = Tensor::wrap(scratch + states, {N}, DType::f32, nullptr);
    own.fill_zero();
  } else if (!bounds.defined()) {
    own = Tensor::zeros({N}, DType::f32, device);
  }
  kernels(device).gru_inference({shape, reset_after, gates.f32(), weights.w_hh.shape.type,
                                 weights.w_hh.data.data(), weights.w_hn.data.data(), b_hh.f32(), h0.f32(),
                                 bounds.defined() ? bounds.f32() : own.f32(), y.f32(), y.row_stride(),
                                 hn.f32(), scratch, weights.w_hh.turn(shape.steps)});
}

}  // namespace s2s::ops
