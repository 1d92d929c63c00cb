# What the rules share: settings, samples, names of files, and what happens when a command fails.
import shlex
import shutil

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import validate

# Words that `--config` takes for text.
for setting, value in config.items():
    config[setting] = (
        {"true": True, "false": False}.get(value, value)
        if isinstance(value, str)
        else value
    )

validate(config, "../schemas/config.schema.yaml")

# The executable would say so after all embedding.
if config["mixed_share"] is not None and config["mixed_share"] > config["viral_share"]:
    raise WorkflowError(
        f"mixed_share is larger than viral_share ({config['mixed_share']}, {config['viral_share']})"
    )
# The same.
if config["fdr"] is not None and config["min_p"] is not None:
    raise WorkflowError("fdr takes the place of min_p: set one of them")


include: "bundle.smk"
include: "samples.smk"


# The four stages between sequences and verdicts are large and quickly made again.
stage_folder = (
    directory if config["keep_intermediate"] else lambda path: temp(directory(path))
)

TABLES = [
    "frames.tsv",
    "windows.tsv",
    "sequences.tsv",
    "viral_regions.bed",
    "summary.json",
    "manifest.json",
]
if "parquet" in config["tables"]:
    TABLES.extend(["frames.parquet", "windows.parquet", "sequences.parquet"])
if config["legacy"]:
    TABLES.extend(["prediction_results.txt", "prediction_results_highestscore.csv"])
VIRAL_FASTA = "viral.fa.gz"
if config["viral_fasta"]:
    TABLES.append(VIRAL_FASTA)

# Snakemake removes the files that it expects; others, of a run with other formats, would make the folder somebody else's.
REMOVING_OTHERS = f"rm -f {{params.folder}}/*.parquet {{params.folder}}/prediction_results* {{params.folder}}/{VIRAL_FASTA}"


SAMPLES = samples_of(config["input"])


wildcard_constraints:
    sample="[^/]+",
    part="[0-9]+",


# Settings that several commands take.
MODEL = ["model", "models"]
READING = [
    "window",
    "frames",
    "duplicates",
    "uracil",
    "letters",
    "strict_input",
    "allow_empty",
]
VERDICTS = ["viral_share", "mixed_share", "min_p", "fdr", "prior", "region_cost"]
FORMATS = ["tables", "legacy"]


def options(*names):
    """Settings as options of the executable: `shard_frames` is --shard-frames. What is not set is not given."""
    given = {
        f"--{name.replace('_', '-')}": config[name]
        for name in names
        if config[name] not in (None, False)
    }
    return " ".join(
        name if value is True else f"{name} {shlex.quote(str(value))}"
        for name, value in given.items()
    )


def files_that_exist(wildcards):
    # The executable names what is missing, and only that sample fails.
    # A module's prefix is for what is written; it leaves absolute paths alone.
    return [
        str(Path(file).absolute())
        for file in SAMPLES[wildcards.sample]
        if Path(file).exists()
    ]


def stamps(files):
    """Time and size of the files that exist."""
    found = [Path(file).stat() for file in files if Path(file).exists()]
    return [f"{file.st_mtime_ns} {file.st_size}" for file in found]


# Shards of each side. A bundle that has no use for a side has none of its shards.
SUFFIX = {"dnabert": "fna", "esm": "faa"}


def parts(wildcards, side):
    """Numbers of the tasks that the shards of a sample are dealt out to."""
    windows = Path(checkpoints.chunk.get(sample=wildcards.sample).output[0])
    if (windows / "refused.log").exists():
        return []
    shards = len(list(windows.glob(f"shard-*.{SUFFIX[side]}")))
    return [
        f"{part:05}" for part in range(1, -(-shards // config["shards_per_task"]) + 1)
    ]


def parts_of(side):
    return lambda wildcards: [
        f"results/{wildcards.sample}/{side}/{part}" for part in parts(wildcards, side)
    ]


def lines_of_part(wildcards):
    """The shards of a task as lines of the list of all: `21,30p`."""
    last = int(wildcards.part) * config["shards_per_task"]
    return f"{last - config['shards_per_task'] + 1},{last}p"


def trying(command):
    """A command whose log is kept for each try, and which is not repeated in earnest where that cannot help.

    Snakemake repeats whatever fails, and removes the log before it does. The last line of a log says whether it is worth
    it: where it is not, the next try ends at once with the same message.
    """
    return """
        before={log}.try$(({resources.attempt} - 1))
        # Who is asked to stop waits for the command, which is asked as well.
        trap : TERM
        if [ {resources.attempt} -eq 1 ]; then
            rm -f {log}.try*
        elif tail -n 1 "$before" 2> /dev/null | grep -q '"retryable":false'; then
            tee {log}.try{resources.attempt} < "$before" > {log}
            exit 1
        fi
        (%s) > {log} 2>&1 || {{ code=$?; cp {log} {log}.try{resources.attempt}; exit $code; }}
        """ % command


def making_folder(command):
    """`trying`, for a command that writes `{output}.part`: the output is there only once it is complete.

    Of a run that was killed, Snakemake notices half-written outputs before it knows the jobs behind a checkpoint; theirs
    would pass for finished.
    """
    return f"""
        rm -rf {{output}}.part
        {trying(command)}
        mv {{output}}.part {{output}}
        """


def making_tables(command):
    """`trying`, for a command that writes `{params.folder}.part`: only tables of a complete run come to their place."""
    return f"""
        rm -rf {{params.folder}}.part
        {trying(command)}
        {REMOVING_OTHERS}
        mv {{params.folder}}.part/predictions/* {{params.folder}}
        rm -r {{params.folder}}.part
        """


# One process per GPU: what asks for none stays on the processor.
EMBED = making_folder("""
        device=$([ {resources.gpu} -gt 0 ] && echo cuda || echo cpu)
        batch={params.batch_tokens}
        if [ -n "$batch" ]; then batch="--batch-tokens $((batch >> ({resources.attempt} - 1)))"; fi
        shards=$(printf '%s\\n' {input}/shard-*.{params.suffix} | sed -n '{params.lines}')
        exec virnucpro {params.stage} $shards {params.options} --device $device --threads {threads} \\
            --attempt {resources.attempt} $batch --checkpoint-dir {resources.checkpoint_dir:q} --output {output}.part
        """)
