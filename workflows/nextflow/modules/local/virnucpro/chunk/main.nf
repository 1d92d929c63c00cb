process VIRNUCPRO_CHUNK {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "virnucpro:0.1.0"

    input:
    tuple val(meta), path(reads, stageAs: 'input?/*')
    path model
    val window

    output:
    tuple val(meta), path("${prefix}/windows")                , emit: windows
    tuple val(meta), path("${prefix}/windows/shard-*.fna", arity: '0..*'), emit: nucleotides
    tuple val(meta), path("${prefix}/windows/shard-*.faa", arity: '0..*'), emit: proteins
    tuple val(meta), path("${prefix}/windows/manifest.json")  , emit: manifest
    tuple val("${task.process}"), val('virnucpro'), eval('virnucpro --version | cut -d " " -f 2'), topic: versions, emit: versions_virnucpro

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def bundle = model ? "--model ${model}" : ''
    def length = window ? "--window ${window}" : ''
    """
    virnucpro \\
        chunk \\
        ${args} \\
        ${bundle} \\
        ${length} \\
        --sample ${meta.id} \\
        --output ${prefix}/windows \\
        ${reads}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir -p ${prefix}/windows
    printf 'sample\\tsequence_id\\twindow_id\\tstart\\tend\\tframes\\trun_start\\trun_end\\tstatus\\n' > ${prefix}/windows/windows.tsv
    touch ${prefix}/windows/inputs.tsv ${prefix}/windows/shard-00001.fna ${prefix}/windows/shard-00001.faa
    echo '{}' > ${prefix}/windows/manifest.json
    """
}
