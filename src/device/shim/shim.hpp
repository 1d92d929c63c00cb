// What both parts of the shim share: exceptions become messages, tensors cross the border as pointers.
#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>

namespace virnucpro {

// The message of a failure, kept for the calling thread until its next failure.
inline const char *keep(const char *what) {
    static thread_local std::string message;
    message = what;
    return message.c_str();
}

// Does the work and gives a null pointer, or the message of what it threw.
template <class Work> const char *guarded(Work work) {
    try {
        work();
        return nullptr;
    } catch (const std::exception &error) {
        return keep(error.what());
    } catch (...) {
        return keep("an exception of an unknown kind");
    }
}

} // namespace virnucpro
