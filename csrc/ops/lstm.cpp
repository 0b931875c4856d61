#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/sequence.h"

namespace s2s::ops {

void lstm(const Ragged& ragged, bool reverse, const Tensor& gates, const Packed& w_hh, const Tensor& h0,
          const Tensor& c0, const Tensor& y, const Tensor& h_prev, const Tensor& c_prev, const Tensor& hn,
          const Tensor& cn) {
  const char* op = "lstm";
  const int64_t N = ragged.sequences(), R = ragged.rows(), H = w_hh.shape.k;
  check(op, w_hh.shape.gates == 4 && w_hh.shape.n == 4 * H, "Expected w_hh of shape [", 4 * H, ", ", H, "].");
  expect(op, "gates", gates, {R, 4 * H});
  expect(op, "h0", h0, {N, H});
  expect(op, "c0", c0, {N, H});
  expect(op, "y", y, {R, H});
  expect(op, "h_prev", h_prev, {R, H});
  expect(op, "c_prev", c_prev, {R, H});
  expect(op, "hn", hn, {N, H});
  expect(op, "cn", cn, {N, H});
  for (const Tensor* t : {&gates, &h0, &c0, &h_prev, &c_prev, &hn, &cn})
    expect_contiguous(op, "every argument but y", *t);
  const Device device = common_device(op, {&gates, &w_hh.data, &h0, &c0, &y, &h_prev, &c_prev, &hn, &cn});
  kernels(device).lstm({sequence_shape(ragged, H, reverse), step_products(op, w_hh.shape.type, device, N, H),
                        gates.f32(), w_hh.data.f32(), h0.f32(), c0.f32(), y.f32(), y.row_stride(),
                        h_prev.f32(), c_prev.f32(), hn.f32(), cn.f32()});
}

void lstm_backward(const Ragged& ragged, bool reverse, const Tensor& gates, const Packed& w_hh_t,
                   const Tensor& c_prev, const Tensor& dy, const Tensor& dh, const Tensor& dc) {
  const char* op = "lstm_backward";
  const int64_t N = ragged.sequences(), R = ragged.rows(), H = w_hh_t.shape.n;
  check(op, w_hh_t.shape.k == 4 * H, "Expected packed w_hh of shape [", 4 * H, ", ", H, "].");
  expect(op, "gates", gates, {R, 4 * H});
  expect(op, "c_prev", c_prev, {R, H});
  expect(op, "dy", dy, {R, H});
  expect(op, "dh", dh, {N, H});
  expect(op, "dc", dc, {N, H});
  for (const Tensor* t : {&gates, &c_prev, &dh, &dc}) expect_contiguous(op, "every argument but dy", *t);
  const Device device = common_device(op, {&gates, &w_hh_t.data, &c_prev, &dy, &dh, &dc});
  kernels(device).lstm_backward(
      {sequence_shape(ragged, H, reverse), step_products(op, w_hh_t.shape.type, device, N, 4 * H),
       gates.f32(), w_hh_t.data.f32(), c_prev.f32(), dy.f32(), dy.row_stride(), dh.f32(), dc.f32()});
}

}  // namespace s2s::ops
