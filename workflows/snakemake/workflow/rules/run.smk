# All stages in one job.
rule run:
    input:
        files_that_exist,
    output:
        expand("results/{{sample}}/predictions/{table}", table=TABLES),
    log:
        "logs/{sample}/run.log",
    benchmark:
        "benchmarks/{sample}/run.tsv"
    conda:
        "../envs/virnucpro.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        files=lambda wildcards: SAMPLES[wildcards.sample],
        # A file that takes the place of another may be older.
        stamps=lambda wildcards: stamps(SAMPLES[wildcards.sample]),
        folder=lambda wildcards, output: Path(output[0]).parent,
        options=options(*MODEL, *READING, *VERDICTS, *FORMATS),
        viral=lambda wildcards, output: (
            f"--viral-fasta {Path(output[0]).parent}.part/predictions/{VIRAL_FASTA}"
            if config["viral_fasta"]
            else ""
        ),
    message:
        "{wildcards.sample}: windows, their scores, and verdicts"
    shell:
        making_tables("""
        exec virnucpro run {params.files:q} --sample {wildcards.sample} {params.options} {params.viral} \\
            --device cpu --threads {threads} --attempt {resources.attempt} --output {params.folder}.part
        """)
