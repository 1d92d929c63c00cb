#!/bin/sh
# announce.sh debug|release: says what the first build of a profile takes, where it has not been built yet.
set -eu

case $1 in
    release) name=release ;;
    *) name=development ;;
esac
if [ -d "${CARGO_TARGET_DIR:-target}/$1/build" ]; then
    exit 0
fi
echo "build: the first $name build compiles about 230 crates. On two cores it takes 5 to 10 minutes; for 3 to 4"
echo "build: of them only torch-sys is at work (libtorch's C++ bindings), without a sign of life. Later builds are quick."
