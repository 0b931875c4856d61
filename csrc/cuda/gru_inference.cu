// Split by units, as gru.cu.
#include "cuda/detail/gru_cell.h"
#include "cuda/detail/recurrence.h"
#include "cuda/table.h"
#include "ops/gru_inference.h"

namespace s2s::cuda {

void gru_inference(const GruInferenceArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  with_element(x.type, [&](auto* element) {
    using Element = std::remove_const_t<std::remove_pointer_t<decltype(element)>>;
    const GruState<Element, false> state{H,          x.gates, x.b_hh,  x.h0, x.y,
                                         x.y_stride, nullptr, nullptr, x.hn, x.bounds};
    const InitialState initial{x.h0, nullptr, std::is_same_v<Element, int8_t> ? x.bounds : nullptr};
    const bool in_place = x.hn != x.h0;
    if (x.reset_after) {
      run_recurrence(GruAfterCell<Element, false>{state, {{{x.w_hh, H, 3 * H}}}}, x.shape, initial, in_place);
    } else {
      const Scratch z(static_cast<size_t>(x.shape.sequences * H) * 4);
      run_recurrence(
          GruBeforeCell<Element, false>{state, {{{x.w_hh, H, 2 * H}}, {{x.w_hn, H, H}}}, z.as<float>()},
          x.shape, initial, in_place);
    }
  });
}

}  // namespace s2s::cuda
