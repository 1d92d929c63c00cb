rule embed_dnabert:
    input:
        "results/{sample}/windows",
    output:
        stage_folder("results/{sample}/dnabert/{part}"),
    log:
        "logs/{sample}/embed-dnabert-{part}.log",
    benchmark:
        "benchmarks/{sample}/embed-dnabert-{part}.tsv"
    conda:
        "../envs/virnucpro.yaml"
    threads: 4
    resources:
        gpu=0,
        checkpoint_dir=config["checkpoint_dir"],
        # ESM-2 3B takes 11 GB; a composition, hardly any.
        mem_mb=lambda wildcards, attempt: (4000 if COSTS_LITTLE else 16000) * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        stage="embed-dnabert",
        suffix="fna",
        lines=lines_of_part,
        batch_tokens=config["batch_tokens"] or "",
        options=options(*MODEL, "dtype"),
    message:
        "{wildcards.sample}: DNABERT-S vectors, part {wildcards.part}"
    shell:
        EMBED


use rule embed_dnabert as embed_esm with:
    output:
        stage_folder("results/{sample}/esm/{part}"),
    log:
        "logs/{sample}/embed-esm-{part}.log",
    benchmark:
        "benchmarks/{sample}/embed-esm-{part}.tsv"
    params:
        stage="embed-esm",
        suffix="faa",
        lines=lines_of_part,
        batch_tokens=config["batch_tokens"] or "",
        options=options(*MODEL, "dtype"),
    message:
        "{wildcards.sample}: ESM-2 vectors, part {wildcards.part}"
