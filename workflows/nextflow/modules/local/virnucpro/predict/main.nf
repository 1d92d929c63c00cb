process VIRNUCPRO_PREDICT {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "virnucpro:0.1.0"

    input:
    tuple val(meta), path(merged, stageAs: 'merged/*'), path(windows, stageAs: 'windows'), path(sequences, stageAs: 'input?/*')
    path model

    output:
    tuple val(meta), path("${prefix}/predictions/sequences.tsv"), emit: sequences
    tuple val(meta), path("${prefix}/predictions/windows.tsv")  , emit: windows
    tuple val(meta), path("${prefix}/predictions/frames.tsv")   , emit: frames
    tuple val(meta), path("${prefix}/predictions/viral_regions.bed"), emit: regions
    tuple val(meta), path("${prefix}/predictions/summary.json") , emit: summary
    tuple val(meta), path("${prefix}/predictions/manifest.json"), emit: manifest
    tuple val(meta), path("${prefix}/predictions/*.parquet")    , emit: parquet, optional: true
    tuple val(meta), path("${prefix}/predictions/prediction_results*"), emit: legacy, optional: true
    tuple val(meta), path("${prefix}/predictions/*.fa.gz")      , emit: viral, optional: true
    tuple val("${task.process}"), val('virnucpro'), eval('virnucpro --version | cut -d " " -f 2'), topic: versions, emit: versions_virnucpro

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def bundle = model ? "--model ${model}" : ''
    """
    virnucpro \\
        predict \\
        ${args} \\
        ${bundle} \\
        ${sequences ? "--viral-fasta ${prefix}/predictions/viral.fa.gz --sequences ${sequences}" : ''} \\
        --threads ${task.cpus} \\
        --windows windows \\
        --output ${prefix}/predictions \\
        merged/*.parquet
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir -p ${prefix}/predictions
    printf 'sample\\tsequence_id\\toriginal_id\\tlength\\tn_windows\\tn_scored_windows\\tn_viral_windows\\tviral_share\\tbest_score_virus\\tmean_score_virus\\tp_virus\\ttier\\tverdict\\tmodel\\n' > ${prefix}/predictions/sequences.tsv
    printf 'sample\\tsequence_id\\twindow_id\\tstart\\tend\\tframes\\trun_start\\trun_end\\tstatus\\tverdict\\tscore_others\\tscore_virus\\tp_virus\\tmodel\\n' > ${prefix}/predictions/windows.tsv
    printf 'sample\\tsequence_id\\twindow_id\\tframe_id\\tframe\\tverdict\\tscore_others\\tscore_virus\\tmodel\\n' > ${prefix}/predictions/frames.tsv
    printf '#sequence_id\\tstart\\tend\\tname\\tscore\\tstrand\\tmean_p_virus\\tn_windows\\n' > ${prefix}/predictions/viral_regions.bed
    echo '{}' > ${prefix}/predictions/summary.json
    echo '{}' > ${prefix}/predictions/manifest.json
    """
}
