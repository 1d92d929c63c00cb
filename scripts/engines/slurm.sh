#!/bin/sh
# SLURM for the tests of the workflows, from Debian's or Ubuntu's packages: slurmctld, slurmd, the clients and munge
# (about 4 MB). Nothing is started: the tests run daemons of their own, with a configuration of their own.
set -eu

packages="slurmctld slurmd slurm-client munge"
have() {
    for program in slurmctld slurmd sbatch srun squeue scontrol munged; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || return 1
    done
}

if have; then
    echo "slurm: installed"
elif [ "$(id -u)" -ne 0 ]; then
    echo "slurm: not installed, and only root can install it (apt-get install $packages): its tests will be skipped"
elif ! command -v apt-get >/dev/null; then
    echo "slurm: not installed, and apt-get is not here to install it: its tests will be skipped"
else
    echo "slurm: apt-get install $packages"
    # A package's script would start the daemons where the system has a service manager.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    install="apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $packages"
    if $install >/dev/null || { apt-get update -q >/dev/null && $install >/dev/null; }; then
        echo "slurm: installed"
    else
        echo "slurm: apt-get could not install it; its message is above: its tests will be skipped"
    fi
fi
