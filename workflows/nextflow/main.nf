#!/usr/bin/env nextflow
// Viral DNA in samples: windows, vectors shard by shard, and tables of verdicts for each sample; in one task for each where
// vectors cost less to compute than to store.

include { VIRNUCPRO_CHUNK        as CHUNK         } from './modules/local/virnucpro/chunk/main'
include { VIRNUCPRO_EMBEDDNABERT as EMBED_DNABERT } from './modules/local/virnucpro/embeddnabert/main'
include { VIRNUCPRO_EMBEDESM     as EMBED_ESM     } from './modules/local/virnucpro/embedesm/main'
include { VIRNUCPRO_MERGE        as MERGE         } from './modules/local/virnucpro/merge/main'
include { VIRNUCPRO_PREDICT      as PREDICT       } from './modules/local/virnucpro/predict/main'
include { VIRNUCPRO_RUN          as RUN           } from './modules/local/virnucpro/run/main'
include { bundleOf ; costsLittle ; samplesOf      } from './subworkflows/local/input/main'
include { checkParameters ; helpText              } from './subworkflows/local/parameters/main'

/** Lists of shards, `size` of them each. */
def parts(shards, size) {
    return [shards].flatten().sort { shard -> shard.name }.collate(size)
}

/** The vectors of each sample, once all its tasks are done, sorted so that -resume meets the same list; [] for a side without shards. */
def gathered(vectors, lists) {
    def counts = lists.map { meta, parts -> [meta, parts.size()] }
    def none = counts.filter { _meta, count -> count == 0 }.map { meta, _count -> [meta, []] }
    return vectors
        .combine(counts, by: 0)
        .map { meta, files, count -> [groupKey(meta, count), files] }
        .groupTuple()
        .map { key, files -> [key.groupTarget, files.flatten().sort { path -> path.name }] }
        .mix(none)
}

/** A manifest on one line. */
def oneLine(manifest) {
    return groovy.json.JsonOutput.toJson(new groovy.json.JsonSlurper().parseText(manifest.text)) + '\n'
}

workflow VIRNUCPRO {
    take:
    samples // [meta, files]
    model // folder of a bundle, or []
    window // bases, or [] for the bundle's
    shards_per_task // number
    staged // whether each stage is a task of its own, or one task does all for a sample
    viral_fasta // whether the sequences called viral are written too

    main:
    RUN(samples.filter { !staged }, model, window, viral_fasta)
    CHUNK(samples.filter { staged }, model, window)
    nucleotides = CHUNK.out.nucleotides.map { meta, shards -> [meta, parts(shards, shards_per_task)] }
    proteins = CHUNK.out.proteins.map { meta, shards -> [meta, parts(shards, shards_per_task)] }

    EMBED_DNABERT(nucleotides.transpose(), model)
    EMBED_ESM(proteins.transpose(), model)

    MERGE(gathered(EMBED_DNABERT.out.vectors, nucleotides).join(gathered(EMBED_ESM.out.vectors, proteins)))
    read_again = samples.map { meta, files -> [meta, viral_fasta ? files : []] }
    PREDICT(MERGE.out.vectors.join(CHUNK.out.windows).join(read_again), model)

    sequences = PREDICT.out.sequences.mix(RUN.out.sequences)
    versions = CHUNK.out.versions_virnucpro.mix(
        EMBED_DNABERT.out.versions_virnucpro,
        EMBED_ESM.out.versions_virnucpro,
        MERGE.out.versions_virnucpro,
        PREDICT.out.versions_virnucpro,
        RUN.out.versions_virnucpro,
    )
    manifests = CHUNK.out.manifest.mix(EMBED_DNABERT.out.manifest, EMBED_ESM.out.manifest, MERGE.out.manifest, PREDICT.out.manifest, RUN.out.manifest)

    emit:
    sequences
    versions
    manifests
}

workflow {
    main:
    if ("${params.help}" == 'true') {
        log.info(helpText())
        exit(0)
    }
    checkParameters(params)
    samples = samplesOf(params.input)
    // The environment is read here, and only here: the bundle then is an input of the tasks, which -resume compares.
    bundle = bundleOf(params.model ?: System.getenv('VIRNUCPRO_MODEL'), params.models ?: System.getenv('VIRNUCPRO_MODELS'))
    staged = "${params.keep_intermediate}" == 'true' || !costsLittle(bundle)
    VIRNUCPRO(channel.fromList(samples), bundle, params.window ?: [], params.shards_per_task as int, staged, "${params.viral_fasta}" == 'true')

    pipeline_info = "${params.outdir}/pipeline_info"
    VIRNUCPRO.out.versions
        .unique()
        .map { process, tool, version -> "${process}:\n    ${tool}: ${version}" }
        .collectFile(name: 'virnucpro_software_mqc_versions.yml', storeDir: pipeline_info, sort: true, newLine: true)

    // What every task did with what: a line for each task.
    VIRNUCPRO.out.manifests.collectFile(storeDir: "${pipeline_info}/provenance", sort: true) { meta, manifest ->
        ["${meta.id}.jsonl", oneLine(manifest)]
    }

    // A sample whose input was refused is named here, where all is done, and not only among the lines above.
    VIRNUCPRO.out.sequences
        .map { meta, _table -> meta.id }
        .toList()
        .subscribe { finished ->
            def failed = samples.collect { meta, _files -> meta.id } - finished
            if (failed) {
                log.error("No result for ${failed.size()} of ${samples.size()} samples: ${failed.join(', ')}")
            }
        }
}
