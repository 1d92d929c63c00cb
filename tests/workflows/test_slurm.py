"""The SLURM of the tests is one: it runs jobs, counts GPUs, and holds them to their memory."""

HUNGRY = "python3 -c 'import time; held = bytearray(300 << 20); time.sleep(20)'"


def submit(slurm, tmp_path, *arguments):
    """Submits a job, waits for its end, and returns its line of the job completion log."""
    before = len(slurm.jobs())
    slurm.command("sbatch", "--wait", f"--output={tmp_path}/out", *arguments, check=False, timeout=60)
    return slurm.jobs()[before]


def test_a_job_runs_and_its_gpu_is_counted(slurm, tmp_path):
    job = submit(slurm, tmp_path, "-p", "gpu", "--gres=gpu:1", "--mem=100", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
    assert (job.state, job.exit_code, job.partition) == ("COMPLETED", "0:0", "gpu")
    assert "TresPerNode=gres:gpu:1" in slurm.details(job.id)
    assert (tmp_path / "out").read_text() == "0\n"


def test_an_exit_code_is_kept(slurm, tmp_path):
    job = submit(slurm, tmp_path, "--mem=100", "--wrap", "exit 4")
    assert (job.state, job.exit_code) == ("FAILED", "4:0")


def test_a_job_over_its_memory_is_killed(slurm, tmp_path):
    job = submit(slurm, tmp_path, "--mem=100", "--wrap", f"srun {HUNGRY}")
    assert job.state != "COMPLETED"
    assert "exceeded memory limit" in (tmp_path / "out").read_text()
