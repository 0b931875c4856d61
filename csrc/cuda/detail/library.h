// A product of rows and packed weights as cuBLAS takes it: rows of float32 as they are, else rounded to the
// weights' type first.
#pragma once

#include "cuda/cublas.h"
#include "cuda/detail/activations.h"
#include "cuda/detail/weights.h"

namespace s2s::cuda {

// f(product), in which c, its stride and `accumulate` are left to f; what f says, or false where there is no
// library.
template <class Element, class F>
bool with_library(const Activations& a, const Weights<Element>& b, const F& f) {
  static_assert(sizeof(Element) > 1);
  if (!has_library()) return false;
  LibraryProduct product{};
  product.m = a.rows, product.n = b.N, product.k = a.K;
  product.b = b.rows, product.b_stride = b.pitch;
  if constexpr (sizeof(Element) == 4) {
    product.type = ComputeType::float32;
    product.a = a.data, product.a_row_stride = a.row_stride, product.a_k_stride = a.k_stride;
    return f(product);
  } else {
    product.type = std::is_same_v<Element, Half> ? ComputeType::float16 : ComputeType::bfloat16;
    const RoundedRows<Element> rounded(a);
    product.a = rounded.rows, product.a_row_stride = b.pitch, product.a_k_stride = 1;
    return f(product);
  }
}

// Some rows of a product's.
template <class Element>
LibraryProduct rows_of(LibraryProduct product, int64_t first, int64_t count) {
  product.a = static_cast<const Element*>(product.a) + first * product.a_row_stride;
  product.m = count;
  return product;
}

}  // namespace s2s::cuda
