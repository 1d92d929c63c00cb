process VIRNUCPRO_EMBEDESM {
    tag "${meta.id}:${[shards].flatten()[0].baseName}"
    label 'process_medium'
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"
    container "virnucpro:0.1.0"

    input:
    tuple val(meta), path(shards)
    path model

    output:
    tuple val(meta), path("${prefix}/esm/*.parquet")     , emit: vectors
    tuple val(meta), path("${prefix}/esm/manifest.json") , emit: manifest
    tuple val("${task.process}"), val('virnucpro'), eval('virnucpro --version | cut -d " " -f 2'), topic: versions, emit: versions_virnucpro

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def bundle = model ? "--model ${model}" : ''
    def device = task.accelerator ? 'cuda' : 'cpu'
    """
    virnucpro \\
        embed-esm \\
        ${args} \\
        ${bundle} \\
        --device ${device} \\
        --threads ${task.cpus} \\
        --attempt ${task.attempt} \\
        --output ${prefix}/esm \\
        ${shards}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir -p ${prefix}/esm
    for shard in ${shards}; do touch "${prefix}/esm/\$(basename "\$shard" .faa).parquet"; done
    echo '{}' > ${prefix}/esm/manifest.json
    """
}
