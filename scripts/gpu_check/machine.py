"""The machine, the libtorch of its Python, and the program on both."""

import glob
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

VERSION = "2.11.0"


class Program:
    """The executable, with the libtorch that it is to find. The environment is changed for its processes alone."""

    def __init__(self, path, torch, device):
        self.path = str(Path(path).resolve())
        self.device = device
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}
        if torch is not None:
            # The executable's own RUNPATH comes after this variable.
            folders = [str(torch / "lib"), *sorted(glob.glob(str(torch.parent / "nvidia" / "*" / "lib")))]
            before = self.environment.get("LD_LIBRARY_PATH")
            self.environment["LD_LIBRARY_PATH"] = ":".join(folders + ([before] if before else []))

    def run(self, *arguments):
        """Runs to its end; standard output and error as text."""
        command = [self.path, *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def must(self, *arguments):
        """The standard output of a run that has to succeed."""
        ran = self.run(*arguments)
        if ran.returncode != 0:
            sys.exit(f"gpu_check: {' '.join(map(str, arguments))} failed with {ran.returncode}:\n{ran.stderr}")
        return ran.stdout

    def start(self, *arguments, **streams):
        return subprocess.Popen([self.path, *map(str, arguments)], env=self.environment, **streams)


def torch_folder(given):
    """The folder of the installed package torch 2.11.0, which is not imported; None if there is none."""
    spec = None if given else importlib.util.find_spec("torch")
    if not given and (spec is None or spec.origin is None):
        return None
    folder = Path(given) if given else Path(spec.origin).parent
    version = folder / "version.py"
    text = version.read_text() if version.exists() else ""
    if f"'{VERSION}" not in text and f'"{VERSION}' not in text:
        sys.exit(f"gpu_check: {folder} is not torch {VERSION}, which the executable was built for")
    return folder.resolve()


def describe(torch, device):
    """Lines about hardware and software."""
    lines = [f"system   {platform.platform()}", f"cpu      {_processor()}, {len(os.sched_getaffinity(0))} usable"]
    fields = "index,name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
    gpus = _output("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    lines += [f"gpu      {line}" for line in gpus.splitlines()] or ["gpu      none: nvidia-smi does not answer"]
    lines.append(
        f"python   {platform.python_version()}, torch {torch or 'not installed: the libtorch beside the program'}"
    )
    lines.append(f"device   {device}")
    return lines


def _processor():
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def gpu_memory(pid):
    """MiB that a process holds on all GPUs; None where nvidia-smi does not say."""
    text = _output("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    rows = [line.split(",") for line in text.splitlines() if line.count(",") == 1]
    held = [int(used) for owner, used in rows if owner.strip() == str(pid) and used.strip().isdigit()]
    return sum(held) if held else None


def host_memory(pid):
    """MiB of resident memory of a process; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")]
    return kilobytes[0] // 1024 if kilobytes else None
