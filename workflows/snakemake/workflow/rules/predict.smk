rule merge:
    input:
        windows="results/{sample}/windows",
        dnabert=parts_of("dnabert"),
        esm=parts_of("esm"),
    output:
        stage_folder("results/{sample}/merged"),
    log:
        "logs/{sample}/merge.log",
    benchmark:
        "benchmarks/{sample}/merge.tsv"
    conda:
        "../envs/virnucpro.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        # Not the input itself: thousands of names are more than a command line of a shell holds.
        folder=lambda wildcards, output: Path(output[0]).parent,
        parts=lambda wildcards, input: max(len(input.dnabert), len(input.esm)),
        # Sides that the bundle has.
        sides=lambda wildcards, input: " ".join(
            side for side in ("dnabert", "esm") if input.get(side)
        ),
    message:
        "{wildcards.sample}: vectors of both sides, joined"
    shell:
        making_folder("""
        if [ -f {input.windows}/refused.log ]; then
            cat {input.windows}/refused.log
            exit 65
        fi
        parts=$(seq --format '%05.0f' {params.parts})
        # Parts of another shards_per_task, if they were kept.
        for folder in {params.folder}/dnabert/* {params.folder}/esm/*; do
            part=${{folder##*/}}
            [ ${{part%.part}} -le {params.parts} ] || rm -r $folder
        done
        sides=$(for side in {params.sides}; do printf -- "--$side "; printf "{params.folder}/$side/%s " $parts; done)
        exec virnucpro merge --output {output}.part $sides
        """)


rule predict:
    input:
        merged="results/{sample}/merged",
        windows="results/{sample}/windows",
        # For --viral-fasta.
        sequences=lambda wildcards: (
            files_that_exist(wildcards) if config["viral_fasta"] else []
        ),
    output:
        expand("results/{{sample}}/predictions/{table}", table=TABLES),
    log:
        "logs/{sample}/predict.log",
    benchmark:
        "benchmarks/{sample}/predict.tsv"
    conda:
        "../envs/virnucpro.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        # Of complete samples, Snakemake sees these settings alone, and not those of jobs before.
        before=options(*READING, "dtype"),
        options=options(*MODEL, *VERDICTS, *FORMATS),
        viral=lambda wildcards, input, output: (
            f"--viral-fasta {Path(output[0]).parent}/{VIRAL_FASTA} --sequences {shlex.join(input.sequences)}"
            if config["viral_fasta"]
            else ""
        ),
    message:
        "{wildcards.sample}: verdicts"
    shell:
        # Whether it is to be made again is for Snakemake to say.
        trying(REMOVING_OTHERS + """
        exec virnucpro predict {input.merged} --windows {input.windows} {params.options} {params.viral} --overwrite \\
            --device cpu --threads {threads} --output {params.folder}
        """)
