#!/bin/sh
# Adds what an NVIDIA GPU takes to an unpacked release:
#
#     sh share/virnucpro/gpu-libraries.sh [FOLDER OF THE RELEASE]
#
# Downloads torch 2.11.0 and NVIDIA's libraries from the Python package index (2.3 GB), checked by digest, and keeps their
# libraries only (2.9 GB; needs 7 GB free meanwhile). Needs Python 3 with pip. Nothing in them is executed. Safe to repeat.
# The driver's own libraries (libcuda.so.1) are not among them: they belong to the machine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
release=$(cd "${1:-$here/../..}" && pwd)
libraries=$release/lib/virnucpro
python=${PYTHON:-python3}

if [ ! -f "$libraries/torch/lib/libtorch_cpu.so" ]; then
    echo "gpu-libraries: $release is not an unpacked release: lib/virnucpro/torch/lib/libtorch_cpu.so is missing" >&2
    exit 1
fi
if [ -f "$libraries/torch/lib/libtorch_cuda.so" ]; then
    echo "gpu-libraries: they are in $libraries already"
    exit 0
fi
if ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "gpu-libraries: $python has no pip: on Debian and Ubuntu 'apt install python3-pip'" >&2
    exit 1
fi

# On the same disk, so that libraries are moved and not copied.
work=$(mktemp -d "$libraries/.gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT
set -- --platform manylinux_2_28_x86_64
for platform in 2_27 2_25 2_18 2_17 2_12 2_5; do
    set -- "$@" --platform "manylinux_${platform}_x86_64"
done
for platform in 2014 2010 1; do
    set -- "$@" --platform "manylinux${platform}_x86_64"
done
echo "gpu-libraries: downloading torch and NVIDIA's libraries, 2.5 GB"
"$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile --target "$work" \
    --no-deps --require-hashes --only-binary=:all: --requirement "$here/gpu-libraries.txt" \
    --python-version 3.12 --implementation cp --abi cp312 --abi none "$@"

# Left out: bindings of Python, profilers, solvers and second copies, which are never loaded.
mkdir -p "$libraries/nvidia"
for folder in "$work"/nvidia/*/lib; do
    package=$(basename "$(dirname "$folder")")
    mkdir -p "$libraries/nvidia/$package/lib"
    for library in "$folder"/*.so*; do
        case $(basename "$library") in
            libcusolver* | *.alt.so* | libnvperf* | libpcsamplingutil* | libcheckpoint* | libnvshmem_device* | nvshmem_*) ;;
            libcudart.* | libcupti.*) ;; # part of every release
            *) mv -f "$library" "$libraries/nvidia/$package/lib/" ;;
        esac
    done
done
licences=$release/share/doc/virnucpro/licences/gpu
for text in "$work"/*.dist-info/licenses/* "$work"/nvidia/*/LICENSE*; do
    package=${text#"$work"/}
    package=${package#nvidia/}
    mkdir -p "$licences/${package%%[-/]*}"
    cp "$text" "$licences/${package%%[-/]*}/"
done
# The one that the executable looks for comes last: without it nothing else is loaded.
for library in libc10_cuda.so libtorch_nvshmem.so libcaffe2_nvrtc.so libtorch_cuda.so; do
    mv -f "$work/torch/lib/$library" "$libraries/torch/lib/"
done
echo "gpu-libraries: they are in $libraries; 'virnucpro info' says which device is taken"
