#!/bin/sh
# build.sh [OPTIONS OF apptainer build]: the image of Singularity.def, from the archive that `make dist` made.
set -eu
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
folder=${CARGO_TARGET_DIR:-target}/dist
for engine in apptainer singularity; do
    if command -v "$engine" >/dev/null; then
        exec "$engine" build --fakeroot --force --build-arg "DIST=$folder/virnucpro-$version-linux-x86_64.tar.zst" "$@" \
            "$folder/virnucpro_$version.sif" Singularity.def
    fi
done
echo "image: neither apptainer nor singularity is installed (installation instructions: apptainer.org)" >&2
exit 1
