"""A SLURM of one node on loopback, for as long as the tests run.

It needs the programs (scripts/engines/slurm.sh), but no service manager, no cgroups and no file
outside its own folder: configuration, keys, ports and daemons are its own, so that several may run side by side.
"""

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"
DAEMONS = ["munged", "slurmctld", "slurmd"]
CLIENTS = ["sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"]

Job = namedtuple("Job", "id name state exit_code partition time_limit")

# No cgroups: memory is sampled each second, and what is over its request is killed. Job states: jobcomp.txt.
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,batch_sched_delay=1,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=10
MinJobAge=3600
InactiveLimit=0
Waittime=0
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 {node} Gres=gpu:fake:1 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=localhost Default=NO MaxTime=INFINITE State=UP
"""


class Slurm:
    """A running SLURM: `environment` makes its commands the ones on PATH."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []
        clients = folder / "bin"
        self.environment = {
            **os.environ,
            "PATH": f"{clients}:{SEARCH}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        for part in ["bin", "controller", "node"]:
            (folder / part).mkdir()
        for client in CLIENTS:
            # Snakemake's plugin takes SLURM_CONF out of the environment of a job: the commands bring it along.
            program = shutil.which(client, path=SEARCH)
            if program:
                (clients / client).write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n')
                (clients / client).chmod(0o755)

    def start(self):
        """Starts the daemons in the foreground, as children that end with this process."""
        folder = self.folder
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                user=getpass.getuser(),
                controller_port=free_port(),
                node_port=free_port(),
                node=node_line(),
            )
        )
        # A GPU that the scheduler counts, with nothing behind it.
        (folder / "gres.conf").write_text("NodeName=localhost Name=gpu Type=fake File=/dev/null\n")
        munge = [f"--{name}={folder}/munge.{suffix}" for name, suffix in MUNGE_FILES.items()]
        self.child("munged", "--foreground", "--force", *munge)
        wait_for((folder / "munge.socket").exists, "munged", folder)
        self.child("slurmctld", "-D", "-f", folder / "slurm.conf")
        self.child("slurmd", "-D", "-N", "localhost", "-f", folder / "slurm.conf")
        wait_for(lambda: "idle" in self.command("sinfo", "-h", "-o", "%t", check=False), "SLURM", folder)

    def stop(self):
        """Ends the jobs, then the daemons, in the reverse order of their start."""
        self.command("scancel", f"--user={getpass.getuser()}", check=False)
        wait_for(
            lambda: not self.command("squeue", "-h", check=False).strip(), "the end of jobs", self.folder, fail=False
        )
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def child(self, program, *arguments):
        # A test run that is killed takes its daemons along.
        command = ["setpriv", "--pdeathsig", "KILL", shutil.which(program, path=SEARCH), *arguments]
        with (self.folder / f"{program}.out").open("w") as output:
            # A session of their own: the terminal's Ctrl-C is for pytest, which then stops them.
            child = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        self.children.append(child)

    def command(self, *arguments, check=True, timeout=10):
        """Standard output of a SLURM command; where `check` is false, nothing from one that fails or hangs."""
        try:
            run = subprocess.run(
                arguments, env=self.environment, check=check, text=True, capture_output=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            if check:
                raise
            return ""
        return run.stdout

    def details(self, job):
        """What the scheduler knows of a job by its number, as one line: `TresPerNode=gres:gpu:1` and so on."""
        return self.command("scontrol", "--oneliner", "show", "job", str(job))

    def jobs(self):
        """Every job that has ended, in the order of ending."""
        log = self.folder / "jobcomp.txt"
        return [job_of(line) for line in log.read_text().splitlines()] if log.exists() else []


MUNGE_FILES = {
    "socket": "socket",
    "key-file": "key",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def job_of(line):
    # Values may hold spaces, names hold none: `Name=a b UserId=root(0)`.
    fields = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", line.strip()))
    return Job(
        int(fields["JobId"]),
        fields["Name"],
        fields["JobState"],
        fields.get("ExitCode", ""),
        fields["Partition"],
        fields["TimeLimit"],
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def node_line():
    """Processors exactly as slurmd counts them, or the node is refused, and nine tenths of the memory."""
    found = subprocess.run(
        [shutil.which("slurmd", path=SEARCH), "-C"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    counts = re.findall(r"(?:CPUs|Boards|SocketsPerBoard|CoresPerSocket|ThreadsPerCore)=\d+", found)
    memory = int(re.search(r"RealMemory=(\d+)", found)[1])
    return " ".join([*counts, f"RealMemory={memory * 9 // 10}"])


def wait_for(ready, what, folder, fail=True):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.2)
    if fail:
        for log in sorted([*folder.glob("*.log"), *folder.glob("*.out")]):
            print(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
        raise TimeoutError(f"{what} did not come up in 30 s")


def missing_program():
    for program in ["setpriv", *DAEMONS, "sbatch", "srun", "squeue", "scontrol"]:
        if not shutil.which(program, path=SEARCH):
            return program
    return None


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A SLURM of one node: partitions `main` and `gpu`, memory limits that hold, and a pretend GPU."""
    missing = missing_program()
    if missing:
        pytest.skip(f"{missing} is not here: scripts/engines/slurm.sh installs SLURM")
    slurm = Slurm(Path(tmp_path_factory.mktemp("slurm")))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
