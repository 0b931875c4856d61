#include "ops/distribution.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

// Of values on the host.
template <class Wrong>
void expect_each(const char* op, const char* what, const Tensor& t, const Wrong& wrong) {
  for (int64_t i = 0; t.device().is_cpu() && i < t.size(); ++i) {
    check(op, !wrong(t.f32()[i]), "Expected ", what, ", got ", t.f32()[i], " at index ", i, ".");
  }
}

// The checked arguments; `levels` keeps what they point to where x lies.
DistributionArgs checked(const char* op, const Tensor& x, const DistributionOf& of, int64_t channels,
                         Tensor& levels) {
  expect_matrix(op, "x", x);
  expect_contiguous(op, "x", x);
  check(op, channels >= 1, "Expected at least one channel, got ", channels, ".");
  const int64_t rows = x.dim(0);
  const bool quantiles = of.kind == Distribution::quantiles;
  check(op, quantiles == of.levels.defined(),
        quantiles ? "Expected levels of the quantiles, got none." : "Expected no levels but for quantiles.");
  if (quantiles) {
    expect_dtype(op, "levels", of.levels, DType::f32);
    check(op, of.levels.shape().rank() == 1 && of.levels.size() >= 1, "Expected levels of shape [Q], got ",
          of.levels.shape(), ".");
    for (int64_t j = 0; of.levels.device().is_cpu() && j < of.levels.size(); ++j) {
      const float level = of.levels.f32()[j], before = j ? of.levels.f32()[j - 1] : 0.0f;
      check(op, level > before && level < 1.0f, "Expected levels between 0 and 1 in ascending order, got ",
            level, " at position ", j, ".");
    }
    levels = of.levels.to(x.device());
  }
  const int64_t parameters = distribution_width(of.kind, quantiles ? of.levels.size() : 0);
  check(op, x.dim(1) == channels * parameters, "Expected x of ", parameters, " columns for each of ",
        channels, " channels, got shape ", x.shape(), ".");
  for (const auto& [name, t] : {std::pair{"offset", &of.offset}, {"scale", &of.scale}}) {
    if (!t->defined()) continue;
    expect(op, name, *t, {rows, channels});
    expect_contiguous(op, name, *t);
  }
  if (of.scale.defined()) expect_each(op, "scale above 0", of.scale, [](float s) { return s <= 0.0f; });
  return {of.kind, rows, channels, parameters, x.f32(), of.offset.f32(), of.scale.f32(), levels.f32()};
}

}  // namespace

Distribution parse_distribution(const char* op, const std::string& name) {
  if (name == "point") return Distribution::point;
  if (name == "normal") return Distribution::normal;
  if (name == "student_t") return Distribution::student_t;
  if (name == "negative_binomial") return Distribution::negative_binomial;
  check(op, name == "quantiles",
        "Expected distribution as one of point, normal, student_t, negative_binomial, quantiles, got ", name,
        ".");
  return Distribution::quantiles;
}

int64_t distribution_width(Distribution kind, int64_t levels) {
  switch (kind) {
    case Distribution::point:
      return 1;
    case Distribution::student_t:
      return 3;
    case Distribution::quantiles:
      return levels;
    case Distribution::normal:
    case Distribution::negative_binomial:
      break;
  }
  return 2;
}

void distribution_loss(const Tensor& x, const DistributionOf& of, const Tensor& target, float gradient_scale,
                       const Tensor& losses, const Tensor& dx) {
  const char* op = "distribution_loss";
  expect_matrix(op, "target", target);
  Tensor levels;
  const DistributionArgs args = checked(op, x, of, target.dim(1), levels);
  expect(op, "target", target, {args.rows, args.channels});
  if (of.kind == Distribution::negative_binomial) {
    expect_each(op, "target of at least 0", target, [](float k) { return k < 0.0f; });
  }
  expect(op, "losses", losses, target.shape());
  for (const Tensor* t : {&target, &losses}) expect_contiguous(op, "target and losses", *t);
  if (dx.defined()) {
    expect(op, "dx", dx, x.shape());
    expect_contiguous(op, "dx", dx);
  }
  kernels(common_device(op, {&x, &of.offset, &of.scale, &target, &losses, &dx}))
      .distribution_loss({args, target.f32(), gradient_scale, losses.f32(), dx.f32()});
}

void distribution_parameters(const Tensor& x, const DistributionOf& of, int64_t channels, const Tensor& y) {
  const char* op = "distribution_parameters";
  Tensor levels;
  const DistributionArgs args = checked(op, x, of, channels, levels);
  expect(op, "y", y, x.shape());
  expect_contiguous(op, "y", y);
  kernels(common_device(op, {&x, &of.offset, &of.scale, &y})).distribution_parameters({args, y.f32()});
}

void distribution_sample(const Tensor& x, const DistributionOf& of, const Tensor& example, const Tensor& path,
                         int32_t step, uint64_t seed, const Tensor& y) {
  const char* op = "distribution_sample";
  expect_matrix(op, "y", y);
  expect_contiguous(op, "y", y);
  Tensor levels;
  const DistributionArgs args = checked(op, x, of, y.dim(1), levels);
  expect(op, "y", y, {args.rows, args.channels});
  expect(op, "example", example, {args.rows}, DType::i64);
  expect(op, "path", path, {args.rows}, DType::i32);
  check(op, step >= 0, "Expected step of at least 0, got ", step, ".");
  kernels(common_device(op, {&x, &of.offset, &of.scale, &example, &path, &y}))
      .distribution_sample({args, example.i64(), path.i32(), step, seed, y.f32()});
}

}  // namespace s2s::ops
