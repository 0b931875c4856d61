// One unit of an LSTM (Hochreiter & Schmidhuber 1997, with forget gate) or GRU (Cho et al. 2014), forward and
// backward. Gates are in PyTorch's order: i f g o, and r z n. `d` prefixes a gradient; gate arguments are
// pre-activations, which forward replaces by activations and backward by gradients of the pre-activations.
#pragma once

#include "math/exp.h"

namespace s2s::math {

// The parts of a unit, for who does the first of several units before the second of any.
template <class T>
S2S_INLINE void lstm_cell(T& i, T& f, T& g, T& o, T c_prev, T& c) {
  i = sigmoid(i);
  f = sigmoid(f);
  g = tanh(g);
  o = sigmoid(o);
  c = fma(f, c_prev, i * g);
}
template <class T>
S2S_INLINE void lstm_state(T o, T c, T& h) {
  h = o * tanh(c);
}
template <class T>
S2S_INLINE void lstm_unit(T& i, T& f, T& g, T& o, T c_prev, T& c, T& h) {
  lstm_cell(i, f, g, o, c_prev, c);
  lstm_state(o, c, h);
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

// Reset gate after the recurrent product (PyTorch, cuDNN): hn = U_n h + b_hn, n holds the input's part on
// entry.
template <class T>
S2S_INLINE void gru_gates(T& r, T& z, T& n, T hn) {
  r = sigmoid(r);
  z = sigmoid(z);
  n = fma(r, hn, n);
}
// n holds its pre-activation. With the reset gate before the product (Keras' default, ONNX
// linear_before_reset=0), where that is W_n x + b + U_n (r h), this is all there is.
template <class T>
S2S_INLINE void gru_state(T z, T& n, T h_prev, T& h) {
  n = tanh(n);
  h = fma(z, h_prev - n, n);
}
template <class T>
S2S_INLINE void gru_unit(T& r, T& z, T& n, T hn, T h_prev, T& h) {
  gru_gates(r, z, n, hn);
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
