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
echo "build: the first $name build compiles about 230 crates. On two cores it takes 4 to 6 minutes; for two of them"
echo "build: little but torch-sys is at work (libtorch's C++ bindings), without a sign of life. Later builds are quick."
