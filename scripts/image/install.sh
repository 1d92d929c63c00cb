#!/bin/sh
# Puts a release into an image of Debian or Ubuntu: the one set of steps of Singularity.def and Dockerfile.
#
#     install.sh ARCHIVE yes|no       ARCHIVE: what `make dist` made; yes: with the libraries for a GPU
set -eu

archive=$1
gpu=$2
case $gpu in
    yes) for_build="zstd python3 python3-pip" ;;
    no) for_build=zstd ;;
    *)
        echo "install.sh: GPU is '$gpu'; use yes or no" >&2
        exit 64
        ;;
esac

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
present=$(dpkg-query --show --showformat '${Package}\n')
# Workflow engines run the image's bash, and Nextflow its ps.
# shellcheck disable=SC2086 # a list of packages
apt-get install -qq -y --no-install-recommends bash procps ca-certificates $for_build

# Programs in /usr/local/bin are on the default PATH of every engine.
zstd -q -d -c "$archive" | tar -x --no-same-owner --strip-components=1 -C /usr/local
if [ "$gpu" = yes ]; then
    sh /usr/local/share/virnucpro/gpu-libraries.sh /usr/local
fi
# Where models are mounted: the executable looks here without being told.
mkdir -p /usr/share/virnucpro/models

# What was there before stays, also where it was not asked for by name.
for package in $for_build; do
    printf '%s\n' "$present" | grep -qx "$package" || apt-get purge -qq -y "$package"
done
apt-get autoremove -qq -y --purge
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /root/.cache
virnucpro --version
