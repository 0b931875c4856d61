// Split by units, as lstm.cu.
#include "cuda/detail/lstm_cell.h"
#include "cuda/detail/recurrence.h"
#include "cuda/table.h"
#include "ops/lstm_inference.h"

namespace s2s::cuda {

void lstm_inference(const LstmInferenceArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  with_element(x.type, [&](auto* element) {
    using Element = std::remove_const_t<std::remove_pointer_t<decltype(element)>>;
    const Scratch units(std::is_same_v<Element, int8_t> ? static_cast<size_t>(x.shape.sequences) * 4 : 0);
    const LstmCell<Element, false> cell{
        H,    {{{x.w_hh, H, 4 * H}}}, x.gates, x.h0, x.c0, x.y, x.y_stride, nullptr, nullptr, x.hn,
        x.cn, units.as<float>()};
    run_recurrence(cell, x.shape, {x.h0, units.as<float>(), nullptr}, x.hn != x.h0);
  });
}

}  // namespace s2s::cuda
