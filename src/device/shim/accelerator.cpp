// What tch has no binding for on a GPU: streams, events, statistics of the allocator, copies that do not wait, and flash
// attention over sequences of several lengths. All of it through the interfaces that libtorch_cpu and libc10 have for any
// accelerator, so nothing of CUDA is included or linked: without libtorch_cuda every call gives an error.
//
// A stream crosses the border as the index of its device and its number, an event as a pointer.

#include "shim.hpp"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_flash_attention_forward_ops.h>
#include <ATen/ops/empty.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdint>
#include <memory>
#include <optional>

using at::Tensor;
using c10::DeviceType;

namespace {

c10::Device gpu(int32_t index) {
    return c10::Device(DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

c10::Stream stream_of(int32_t device, int64_t stream) {
    return c10::Stream(c10::Stream::UNSAFE, gpu(device), stream);
}

c10::impl::VirtualGuardImpl backend() {
    return c10::impl::VirtualGuardImpl(DeviceType::CUDA);
}

// Streams are made, and pinned memory is given, for the device that is current in the calling thread; and what returns to
// another device makes a context there, which takes its memory.
struct OnDevice {
    explicit OnDevice(int32_t index) : guard(backend()), before(guard.exchangeDevice(gpu(index))) {}
    ~OnDevice() { guard.uncheckedSetDevice(before); }
    OnDevice(const OnDevice &) = delete;
    OnDevice &operator=(const OnDevice &) = delete;

  private:
    c10::impl::VirtualGuardImpl guard;
    c10::Device before;
};

} // namespace

extern "C" {

// Before the first memory of a GPU is asked for; as `expandable_segments:True`.
const char *virnucpro_allocator_settings(const char *settings) {
    return virnucpro::guarded([&] { c10::CachingAllocator::setAllocatorSettings(settings); });
}

// Prepares CUDA and its allocator. Only once libtorch_cuda is loaded: the first question about CUDA settles for the whole
// process whether there is any.
const char *virnucpro_gpu_open() {
    return virnucpro::guarded([&] {
        at::Context &context = at::globalContext();
        context.lazyInitDevice(DeviceType::CUDA);
        // It makes a plan per shape, and batches have many shapes.
        context.setSDPUseCuDNN(false);
        // f32 is f32: no TF32, whatever the environment says.
        context.setAllowTF32CuBLAS(false);
        // Partial sums of 16-bit products stay in f32.
        context.setAllowFP16ReductionCuBLAS(false);
        context.setAllowBF16ReductionCuBLAS(false);
    });
}

const char *virnucpro_stream_new(int32_t device, int64_t *stream) {
    return virnucpro::guarded([&] {
        OnDevice current(device);
        *stream = backend().getStreamFromGlobalPool(gpu(device), false).id();
    });
}

// Makes a stream, and its device, that of the calling thread; gives the stream before. A thread that stays on another device
// would take memory there for a context that nobody needs.
const char *virnucpro_stream_use(int32_t device, int64_t stream, int64_t *before) {
    return virnucpro::guarded([&] {
        const auto guard = backend();
        guard.setDevice(gpu(device));
        *before = guard.exchangeStream(stream_of(device, stream)).id();
    });
}

const char *virnucpro_stream_synchronize(int32_t device, int64_t stream) {
    return virnucpro::guarded([&] { stream_of(device, stream).synchronize(); });
}

const char *virnucpro_event_new(c10::Event **event) {
    return virnucpro::guarded([&] { *event = new c10::Event(DeviceType::CUDA); });
}

void virnucpro_event_free(c10::Event *event) {
    std::unique_ptr<c10::Event> own(event);
    (void)virnucpro::guarded([&] {
        if (own->device_index() >= 0) {
            OnDevice current(own->device_index());
            own.reset();
        }
    });
}

// Marks what has been given to the stream up to now.
const char *virnucpro_event_record(c10::Event *event, int32_t device, int64_t stream) {
    return virnucpro::guarded([&] { event->record(stream_of(device, stream)); });
}

// Lets the stream wait for the event; the caller does not wait.
const char *virnucpro_event_block(const c10::Event *event, int32_t device, int64_t stream) {
    return virnucpro::guarded([&] { event->block(stream_of(device, stream)); });
}

const char *virnucpro_event_synchronize(const c10::Event *event) {
    return virnucpro::guarded([&] { event->synchronize(); });
}

// Bytes: allocated, reserved, peak of allocated, free on the device, all of the device.
const char *virnucpro_gpu_memory(int32_t device, int64_t *bytes) {
    return virnucpro::guarded([&] {
        OnDevice current(device);
        auto *allocator = c10::getDeviceAllocator(DeviceType::CUDA);
        const auto index = static_cast<c10::DeviceIndex>(device);
        const auto statistics = allocator->getDeviceStats(index);
        const auto [free, total] = allocator->getMemoryInfo(index);
        const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        bytes[0] = statistics.allocated_bytes[all].current;
        bytes[1] = statistics.reserved_bytes[all].current;
        bytes[2] = statistics.allocated_bytes[all].peak;
        bytes[3] = static_cast<int64_t>(free);
        bytes[4] = static_cast<int64_t>(total);
    });
}

const char *virnucpro_gpu_reset_peak(int32_t device) {
    return virnucpro::guarded([&] {
        c10::getDeviceAllocator(DeviceType::CUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
    });
}

const char *virnucpro_gpu_empty_cache() {
    return virnucpro::guarded([&] { c10::getDeviceAllocator(DeviceType::CUDA)->emptyCache(); });
}

const char *virnucpro_gpu_synchronize(int32_t device) {
    return virnucpro::guarded([&] {
        OnDevice current(device);
        backend().synchronizeDevice(static_cast<c10::DeviceIndex>(device));
    });
}

// Memory of the host that a GPU reads and writes by itself, of the shape and kind of another tensor.
const char *virnucpro_pinned(int32_t device, const Tensor *like, Tensor **tensor) {
    return virnucpro::guarded([&] {
        OnDevice current(device);
        *tensor = new Tensor(at::empty(like->sizes(), like->options().device(at::kCPU).pinned_memory(true)));
    });
}

// Copies on the current stream of the GPU. From and to pinned memory the caller does not wait for it.
const char *virnucpro_copy(Tensor *to, const Tensor *from) {
    return virnucpro::guarded([&] {
        at::NoGradGuard guard;
        to->copy_(*from, /*non_blocking=*/true);
    });
}

// softmax(scale q k^T) v for sequences that lie one behind the other: q, k, v [tokens, heads, width] of f16 or bf16, the
// bounds of the sequences i32 [sequences + 1].
const char *virnucpro_flash(
    const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *bounds, int64_t longest, double scale,
    Tensor **mixed) {
    return virnucpro::guarded([&] {
        c10::InferenceMode guard;
        // Named, since the two overloads of at::_flash_attention_forward cannot be told apart by their defaults.
        auto found = at::_ops::_flash_attention_forward::call(
            *q, *k, *v, *bounds, *bounds, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/false,
            /*return_debug_mask=*/false, scale, std::nullopt, std::nullopt, std::optional<Tensor>(),
            std::optional<Tensor>());
        *mixed = new Tensor(std::get<0>(std::move(found)));
    });
}

} // extern "C"
