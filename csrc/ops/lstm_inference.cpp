#include "ops/lstm_inference.h"

#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/scratch.h"
#include "ops/sequence.h"

namespace s2s::ops {

void lstm_inference(const Ragged& ragged, Range steps, bool reverse, const Tensor& gates, const Packed& w_hh,
                    const Tensor& h0, const Tensor& c0, const Tensor& y, const Tensor& hn, const Tensor& cn) {
  const char* op = "lstm_inference";
  const SequenceShape shape = sequence_shape(ragged, steps, w_hh.shape.k, reverse);
  const int64_t N = shape.sequences, R = shape.offsets[shape.steps] - shape.offsets[0], H = w_hh.shape.k;
  check(op, w_hh.shape.type != ComputeType::bfloat16_pairs, "Expected weights packed for inference.");
  check(op, w_hh.shape.gates == 4 && w_hh.shape.n == 4 * H, "Expected w_hh of shape [", 4 * H, ", ", H, "].");
  expect(op, "gates", gates, {R, 4 * H});
  if (h0.defined()) expect(op, "h0", h0, {N, H});
  if (c0.defined()) expect(op, "c0", c0, {N, H});
  expect(op, "y", y, {R, H});
  expect(op, "hn", hn, {N, H});
  expect(op, "cn", cn, {N, H});
  for (const Tensor* t : {&gates, &h0, &c0, &hn, &cn}) expect_contiguous(op, "every argument but y", *t);
  const Device device = common_device(op, {&gates, &w_hh.data, &h0, &c0, &y, &hn, &cn});
  void* scratch = scratch_on(device, recurrent_scratch_bytes(N, H));
  kernels(device).lstm_inference({shape, gates.f32(), w_hh.shape.type, w_hh.data.data(), h0.f32(), c0.f32(),
                                  y.f32(), y.row_stride(), hn.f32(), cn.f32(), scratch,
                                  w_hh.turn(shape.steps)});
}

}  // namespace s2s::ops
