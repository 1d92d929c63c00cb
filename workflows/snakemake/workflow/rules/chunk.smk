# How many shards there are is known when it is done.
checkpoint chunk:
    input:
        files_that_exist,
    output:
        stage_folder("results/{sample}/windows"),
    log:
        "logs/{sample}/chunk.log",
    benchmark:
        "benchmarks/{sample}/chunk.tsv"
    # Temporary folders are removed once the last checkpoint is complete.
    priority: 1
    conda:
        "../envs/virnucpro.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        files=lambda wildcards: SAMPLES[wildcards.sample],
        # A file that takes the place of another may be older.
        stamps=lambda wildcards: stamps(SAMPLES[wildcards.sample]),
        options=options(*MODEL, *READING, "shard_frames", *FORMATS),
    message:
        "{wildcards.sample}: windows and their frames"
    shell:
        # A refused input is left for merge to fail with: while a checkpoint is not complete, no temporary folder is removed.
        making_folder("""
        virnucpro chunk {params.files:q} --sample {wildcards.sample} {params.options} --output {output}.part || case $? in
            65 | 66) mkdir -p {output}.part; cp {log} {output}.part/refused.log ;;
            *) exit $? ;;
        esac
        """)


WINDOWS = rules.chunk.output[0]


onerror:
    # The next run reads a refused input again.
    for windows in expand(WINDOWS, sample=SAMPLES):
        if (Path(windows) / "refused.log").exists():
            shutil.rmtree(windows)
