#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/sequence.h"

namespace s2s::ops {

PackedGru pack_gru(const Tensor& w_hh, bool reset_after, ComputeType type) {
  if (reset_after) return {pack_transposed(w_hh, 3, type), {}};
  const int64_t H = w_hh.dim(1);
  return {pack_transposed(w_hh.rows(0, 2 * H), 2, type), pack_transposed(w_hh.rows(2 * H, H), 1, type)};
}

PackedGru pack_gru_backward(const Tensor& w_hh, ComputeType type) {
  const int64_t H = w_hh.dim(1);
  return {pack(w_hh.rows(0, 2 * H), type), pack(w_hh.rows(2 * H, H), type)};
}

void gru(const Ragged& ragged, bool reverse, bool reset_after, const Tensor& gates, const PackedGru& weights,
         const Tensor& b_hh, const Tensor& h0, const Tensor& y, const Tensor& h_prev, const Tensor& hn,
         const Tensor& h_last) {
  const char* op = "gru";
  const int64_t N = ragged.sequences(), R = ragged.rows(), H = weights.w_hh.shape.k;
  check(op, weights.w_hh.shape.gates == (reset_after ? 3 : 2), "Expected w_hh packed for this variant.");
  expect(op, "gates", gates, {R, 3 * H});
  expect(op, "b_hh", b_hh, {3 * H});
  expect(op, "h0", h0, {N, H});
  expect(op, "y", y, {R, H});
  expect(op, "h_prev", h_prev, {R, H});
  expect(op, "hn", hn, {R, H});
  expect(op, "h_last", h_last, {N, H});
  for (const Tensor* t : {&gates, &h0, &h_prev, &hn, &h_last})
    expect_contiguous(op, "every argument but y", *t);
  const Device device = common_device(
      op, {&gates, &weights.w_hh.data, &weights.w_hn.data, &b_hh, &h0, &y, &h_prev, &hn, &h_last});
  kernels(device).gru({sequence_shape(ragged, H, reverse),
                       step_products(op, weights.w_hh.shape.type, device, N, H), reset_after, gates.f32(),
                       weights.w_hh.data.f32(), weights.w_hn.defined() ? weights.w_hn.data.f32() : nullptr,
                       b_hh.f32(), h0.f32(), y.f32(), y.row_stride(), h_prev.f32(), hn.f32(), h_last.f32()});
}

void gru_backward(const Ragged& ragged, bool reverse, bool reset_after, const Tensor& gates,
                  const Tensor& dgates_hn, const PackedGru& weights, const Tensor& h_prev, const Tensor& hn,
                  const Tensor& dy, const Tensor& dh) {
  const char* op = "gru_backward";
  const int64_t N = ragged.sequences(), R = ragged.rows(), H = weights.w_hn.shape.n;
  check(op, weights.w_hh.shape.k == 2 * H && weights.w_hn.shape.k == H,
        "Expected w_hh packed for the gradient.");
  expect(op, "gates", gates, {R, 3 * H});
  expect(op, "dgates_hn", dgates_hn, {R, H});
  expect(op, "h_prev", h_prev, {R, H});
  expect(op, "hn", hn, {R, H});
  expect(op, "dy", dy, {R, H});
  expect(op, "dh", dh, {N, H});
  for (const Tensor* t : {&gates, &dgates_hn, &h_prev, &hn, &dh})
    expect_contiguous(op, "every argument but dy", *t);
  const Device device =
      common_device(op, {&gates, &dgates_hn, &weights.w_hh.data, &weights.w_hn.data, &h_prev, &hn, &dy, &dh});
  const Tensor d_reset = reset_after ? Tensor() : Tensor::empty({N, H}, DType::f32, device);
  kernels(device).gru_backward(
      {sequence_shape(ragged, H, reverse), step_products(op, weights.w_hh.shape.type, device, N, 2 * H),
       reset_after, gates.f32(), dgates_hn.f32(), weights.w_hh.data.f32(), weights.w_hn.data.f32(),
       h_prev.f32(), hn.f32(), dy.f32(), dy.row_stride(), dh.f32(), reset_after ? nullptr : d_reset.f32()});
}

}  // namespace s2s::ops
