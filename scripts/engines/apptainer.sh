#!/bin/sh
# Installs Apptainer where it is missing, for `make test-workflows`: on Debian 12 or newer, as root.
#
# Only Debian unstable has the package, and it needs a newer C library than Debian 12 has. So the package is unpacked
# with that library in a folder of its own, and its two executables are pointed there; the system's library stays as it is.
# Safe to repeat. Ends with 0 and a message where it cannot be done: the tests then say what they skip.
set -eu

private=/opt/apptainer-glibc

cannot() {
    echo "apptainer: not installed: $1"
    exit 0
}

if command -v apptainer >/dev/null; then
    echo "apptainer: $(apptainer --version) is installed"
    exit 0
fi
[ "$(id -u)" -eq 0 ] || cannot "that takes root (installation instructions: apptainer.org)"
[ "$(uname -m)" = x86_64 ] || cannot "only x86_64 is known to work"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get >/dev/null || [ ! -f "$keyring" ]; then
    cannot "this is not a Debian"
fi
# The mirror that this machine uses already.
sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*debian*.sources 2>/dev/null || true)
mirror=$(printf '%s\n' "$sources" | awk '/^URIs:/ { print $2; exit } /^deb / { sub(/\[[^]]*\] */, ""); print $2; exit }')
[ -n "$mirror" ] || cannot "apt's sources name no mirror of Debian"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# download SUITE PACKAGE: with apt's own checks of signatures, and without touching its lists.
download() {
    state=$work/$1
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    echo "deb [signed-by=$keyring] $mirror $1 main" >"$state/sources.list"
    set -- "$2" -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none
    package=$1
    shift
    apt-get "$@" -qq update && (cd "$work" && apt-get "$@" -qq download "$package")
}

echo "apptainer: installing it with what it needs from Debian's mirror, about 75 MB"
# debootstrap: what the tests build their images on, as they use no image registry.
needs="patchelf squashfs-tools squashfuse uidmap fakeroot ca-certificates libseccomp2 libsqlite3-0 debootstrap"
# shellcheck disable=SC2086 # a list of packages
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends $needs; } >"$work/log" 2>&1; then
    tail -n 3 "$work/log"
    cannot "apt-get does not install: $needs"
fi
{ download sid apptainer && download trixie libc6; } || cannot "apt-get does not download it"
dpkg-deb -x "$work"/apptainer_*.deb "$work/apptainer"
dpkg-deb -x "$work"/libc6_*.deb "$work/libc6"

mkdir -p "$private"
cp -a "$work"/libc6/usr/lib/x86_64-linux-gnu/*.so* "$private/"
for executable in usr/bin/apptainer usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    patchelf --set-interpreter "$private/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$private" \
        "$work/apptainer/$executable"
done
mkdir -p /usr/lib/x86_64-linux-gnu/apptainer /var/lib/apptainer/mnt/session
cp -a "$work/apptainer/usr/lib/x86_64-linux-gnu/apptainer/." /usr/lib/x86_64-linux-gnu/apptainer/
cp -a "$work/apptainer/etc/." /etc/
# Root of a container may lack a capability that Apptainer would ask for otherwise; builds then go by --fakeroot.
sed -i 's/^root default capabilities = .*/root default capabilities = file/' /etc/apptainer/apptainer.conf
for ids in /etc/subuid /etc/subgid; do
    grep -q '^root:' "$ids" 2>/dev/null || echo root:100000:65536 >>"$ids"
done
# Lets others than root mount an image.
if [ -e /dev/fuse ]; then chmod 666 /dev/fuse || true; fi
# Last, so that what is on PATH is whole.
cp -a "$work/apptainer/usr/bin/." /usr/bin/
ln -sf apptainer /usr/bin/singularity
echo "apptainer: $(apptainer --version) is installed"
