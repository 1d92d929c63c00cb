process VIRNUCPRO_MERGE {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "virnucpro:0.1.0"

    input:
    tuple val(meta), path(dnabert, stageAs: 'dnabert/*'), path(esm, stageAs: 'esm/*')

    output:
    tuple val(meta), path("${prefix}/merged/*.parquet")     , emit: vectors
    tuple val(meta), path("${prefix}/merged/manifest.json") , emit: manifest
    tuple val("${task.process}"), val('virnucpro'), eval('virnucpro --version | cut -d " " -f 2'), topic: versions, emit: versions_virnucpro

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def sides = [dnabert ? '--dnabert dnabert/*.parquet' : '', esm ? '--esm esm/*.parquet' : ''].findAll().join(' ')
    """
    virnucpro \\
        merge \\
        ${args} \\
        ${sides} \\
        --output ${prefix}/merged
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir -p ${prefix}/merged
    for vectors in ${dnabert ?: esm}; do touch "${prefix}/merged/\$(basename "\$vectors")"; done
    echo '{}' > ${prefix}/merged/manifest.json
    """
}
