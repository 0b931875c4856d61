// Cells with zoneout: the one-step kernels, each step's states mixed with those before it. In training by
// masks, in inference by their expectation.
#include "model/cell.h"
#include "ops/norm.h"
#include "ops/zoneout.h"

namespace s2s::model {
namespace {

ops::Zoneout mask_of(const ZoneoutNames& names, float p, int stream) {
  return {p, names.example, names.time, names.op, names.stream + stream, names.seed, names.update};
}

// Calls f(step) in the order of a walk.
template <class F>
void for_steps(Range steps, bool reverse, const F& f) {
  for (int64_t i = 0; i < steps.end - steps.begin; ++i) f(reverse ? steps.end - 1 - i : steps.begin + i);
}

}  // namespace

ZoneoutNames ZoneoutNames::rows(int64_t begin, int64_t count) const {
  ZoneoutNames part = *this;
  if (!example.defined()) return part;
  part.example = example.rows(begin, count);
  part.time = time.rows(begin, count);
  return part;
}

void Cell::zone(const State& before, const State& now, const ZoneoutNames& names, const State& out,
                const Tensor& y) const {
  ops::zoneout(before.h, now.h, mask_of(names, config_.zoneout_hidden, 0), out.h, y);
  if (now.c.defined()) ops::zoneout(before.c, now.c, mask_of(names, config_.zoneout_cell, 1), out.c, {});
}

void Cell::recur_zoned(const Packed& packed, const Ragged& ragged, Range steps, bool reverse,
                       const Saved& saved, const State& initial, const Tensor& y, const State& last,
                       const ZoneoutNames& names) const {
  if (ragged.steps() == 1 && initial.h.defined() && initial.h.data() != last.h.data()) {
    walk(packed, ragged, false, saved, initial, y, last);
    return zone(initial, last, names, last, y);
  }
  copy_state(initial, last);
  const State next = State::empty(config_, last.h.dim(0));
  const int64_t first = ragged.row(steps.begin, 0);
  for_steps(steps, reverse, [&](int64_t t) {
    const int64_t row = ragged.row(t, 0) - first, count = ragged.batch_sizes[static_cast<size_t>(t)];
    const State before = last.rows(0, count), now = next.rows(0, count);
    const Tensor output = y.rows(row, count);
    walk(packed, Ragged::single_step(count), false, saved.rows(row, count), before, output, now);
    zone(before, now, names.rows(row, count), before, output);
  });
}

void Cell::recur_zoned_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse,
                                const Saved& saved, const Tensor& dy, const State& dstate,
                                const ZoneoutNames& names) const {
  const State dnow = State::empty(config_, dstate.h.dim(0)), kept = State::empty(config_, dstate.h.dim(0));
  for_steps({0, ragged.steps()}, !reverse, [&](int64_t t) {
    const int64_t row = ragged.row(t, 0), count = ragged.batch_sizes[static_cast<size_t>(t)];
    const State d = dstate.rows(0, count), before = kept.rows(0, count);
    const Tensor doutput = dnow.h.rows(0, count);
    const ZoneoutNames here = names.rows(row, count);
    ops::add(dy.rows(row, count), d.h);
    ops::zoneout_backward(d.h, mask_of(here, config_.zoneout_hidden, 0), doutput, before.h);
    d.h.fill_zero();
    if (d.c.defined()) ops::zoneout_backward(d.c, mask_of(here, config_.zoneout_cell, 1), d.c, before.c);
    walk_backward(packed, Ragged::single_step(count), false, saved.rows(row, count), doutput, d);
    ops::add(before.h, d.h);
    if (d.c.defined()) ops::add(before.c, d.c);
  });
}

}  // namespace s2s::model
