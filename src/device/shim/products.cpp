// Matrix products of the CPU that tch has no binding for: oneDNN's, which is part of libtorch_cpu, with weights laid out
// beforehand.

#include "shim.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <optional>
#include <string_view>

using at::Tensor;
using Scalars = c10::List<std::optional<at::Scalar>>;

namespace {

template <class Signature> auto operation(const char *name, const char *overload) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

std::optional<Tensor> maybe(const Tensor *tensor) {
    return tensor ? std::optional<Tensor>(*tensor) : std::nullopt;
}

} // namespace

extern "C" {

// `weight` [outputs, inputs] in the layout that the product wants for about `rows` rows.
const char *virnucpro_pack(const Tensor *weight, int64_t rows, Tensor **packed) {
    return virnucpro::guarded([&] {
        c10::InferenceMode guard;
        static const auto pack =
            operation<Tensor(const Tensor &, std::optional<int64_t>)>("mkldnn::_reorder_linear_weight", "");
        *packed = new Tensor(pack.call(*weight, rows));
    });
}

// x W^T + b, then the error-function GELU if `gelu`.
const char *virnucpro_linear(const Tensor *x, const Tensor *packed, const Tensor *bias, bool gelu, Tensor **y) {
    return virnucpro::guarded([&] {
        c10::InferenceMode guard;
        static const auto linear = operation<Tensor(
            const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view, Scalars,
            std::optional<std::string_view>)>("mkldnn::_linear_pointwise", "");
        const std::optional<std::string_view> form = gelu ? std::optional<std::string_view>("none") : std::nullopt;
        *y = new Tensor(linear.call(*x, *packed, maybe(bias), gelu ? "gelu" : "none", Scalars(), form));
    });
}

// (x W^T + b) * other, element by element.
const char *
virnucpro_linear_times(const Tensor *x, const Tensor *packed, const Tensor *bias, const Tensor *other, Tensor **y) {
    return virnucpro::guarded([&] {
        c10::InferenceMode guard;
        static const auto linear = operation<Tensor(
            const Tensor &, const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view)>(
            "mkldnn::_linear_pointwise", "binary");
        *y = new Tensor(linear.call(*x, *other, *packed, maybe(bias), "mul"));
    });
}

} // extern "C"
