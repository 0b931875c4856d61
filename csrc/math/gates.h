// One unit of an LSTM (Hochreiter & Schmidhuber 1997, with forget gate) or GRU (Cho et al. 2014), forward and
// backward. Gates are in PyTorch's order: i f g o, and r z n. `d` prefixes a gradient; gate arguments are
// pre-activations, which forward replaces by activations and backward by gradients of the pre-activations.
#pragma once

#include "math/exp.h"

namespace s2s::math {

// The end of a unit, for who does its parts between others' work.
template <class T>
S2S_INLINE T lstm_cell(T i, T f, T g, T c_prev) {
  return fma(f, c_prev, i * g);
}
template <class T>
S2S_INLINE T lstm_state(T o, T c) {
  return o * tanh(c);
}
template <class T>
S2S_INLINE void lstm_unit(T& i, T& f, T& g, T& o, T c_prev, T& c, T& h) {
  i = sigmoid(i);
  f = sigmoid(f);
  g = tanh(g);
  o = sigmoid(o);
  c = lstm_cell(i, f, g, c_prev);
  h = lstm_state(o, c);
}

// dc: in, the gradient that reaches c from the next step; out, the one that goes on to c_prev.
template <class T>
S2S_INLINE void lstm_unit_backward(T& i, T& f, T& g, T& o, T c_prev, T dh, T& dc) {
  const T one = constant(1.0f, i);
  const T tanh_c = tanh(fma(f, c_prev, i * g));
  const T d = fma(dh * o, one - tanh_c * tanh_c, dc);
  const T di = d * g * i * (one - i);
  const T df = d * c_prev * f * (one - f);
  const T dg = d * i * (one - g * g);
  const T do_ = dh * tanh_c * o * (one - o);
  dc = d * f;
  i = di;
  f = df;
  g = dg;
  o = do_;
}

// n's pre-activation where the reset gate comes after the recurrent product (PyTorch, cuDNN): hn = U_n h +
// b_hn, n the input's part.
template <class T>
S2S_INLINE T gru_candidate(T r, T n, T hn) {
  return fma(r, hn, n);
}
template <class T>
S2S_INLINE T gru_update(T z, T n, T h_prev) {
  return fma(z, h_prev - n, n);
}
// n holds its pre-activation. With the reset gate before the product (Keras' default, ONNX
// linear_before_reset=0), where that is W_n x + b + U_n (r h), this is all there is.
template <class T>
S2S_INLINE void gru_state(T z, T& n, T h_prev, T& h) {
  n = tanh(n);
  h = gru_update(z, n, h_prev);
}
template <class T>
S2S_INLINE void gru_unit(T& r, T& z, T& n, T hn, T h_prev, T& h) {
  r = sigmoid(r);
  z = sigmoid(z);
  n = gru_candidate(r, n, hn);
  gru_state(z, n, h_prev, h);
}

// dn is the gradient of n's pre-activation, for either variant; dh_direct what goes straight to h_prev.
template <class T>
S2S_INLINE void gru_unit_backward_update(T z, T n, T h_prev, T dh, T& dz, T& dn, T& dh_direct) {
  const T one = constant(1.0f, z);
  dz = dh * (h_prev - n) * z * (one - z);
  dn = dh * (one - z) * (one - n * n);
  dh_direct = dh * z;
}

}  // namespace s2s::math
