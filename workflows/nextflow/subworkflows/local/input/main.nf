// What is read: a sample sheet, or files by a glob. Everything that is wrong with a sheet is told at once, before any task.

/** Pairs of meta map and files, one for each sample. */
def samplesOf(input) {
    if (!input) {
        error("--input is missing: a sample sheet (.csv, .tsv), a file of sequences, or a quoted glob such as 'reads/*.fa.gz'")
    }
    def sheet = input =~ /(?i)\.(csv|tsv)$/
    def listed = sheet ? listedIn(file(input, checkIfExists: true)) : foundBy(input)
    def misnamed = listed.collect { sample, _path -> sample }.unique().findAll { sample -> !(sample ==~ /[A-Za-z0-9][A-Za-z0-9_.+-]*/) }
    if (misnamed) {
        error("Names of samples name folders: letters, digits and _ . + -, the first a letter or digit. Found: ${misnamed.join(', ')}. ${sheet ? '' : 'A sample sheet gives files other names.'}")
    }
    return listed
        .groupBy { sample, _path -> sample }
        .collect { sample, rows -> [[id: sample], rows.collect { _sample, path -> path }] }
}

/** Pairs of sample and file that a glob finds: a sample is named like its file. */
def foundBy(glob) {
    def files = [file(glob)].flatten().findAll { path -> path.exists() }
    if (!files) {
        error("--input ${glob}: no such file")
    }
    def samples = files.collect { path ->
        [path.name.replaceFirst(/(?i)\.(gz|bgz|bz2|xz|zst)$/, '').replaceFirst(/\.[^.]+$/, ''), path]
    }
    def twice = samples.countBy { sample, _path -> sample }.findAll { _sample, count -> count > 1 }.keySet()
    if (twice) {
        error("--input ${glob}: several files are named ${twice.join(', ')}: give a sample sheet, which names samples")
    }
    return samples
}

/** Pairs of sample and file of a sheet, in its order. Paths start at the sheet's folder. */
def listedIn(sheet) {
    def separator = sheet.name.toLowerCase().endsWith('.tsv') ? '\t' : ','
    def rows = sheet.splitCsv(header: true, sep: separator, quote: '"', strip: true).collect { row ->
        row.collectEntries { column, cell -> [(column ?: '').replace('\uFEFF', '').trim(), cell?.trim()] }
    }
    if (!rows) {
        error("The sample sheet ${sheet} lists no samples: expected a first line of sample,fasta or sample,fastq_1,fastq_2, then a line for each file")
    }
    def columns = ['file', 'fasta', 'fastq_1', 'fastq_2'].findAll { column -> rows[0].containsKey(column) }
    if (!rows[0].containsKey('sample') || !columns) {
        error("The sample sheet ${sheet} has the columns ${rows[0].keySet().join(', ')}: expected sample,fasta or sample,fastq_1,fastq_2")
    }
    def checked = rows.withIndex().collect { row, index -> checkedRow(row, index + 2, columns, sheet) }
    def faults = checked.collectMany { row -> row.faults }
    def listed = checked.collectMany { row -> row.files.collect { path -> [row.sample, path] } }
    def twice = listed.countBy { pair -> pair }.findAll { _pair, count -> count > 1 }.keySet()
    faults += twice.collect { sample, path -> "${path} is listed twice for ${sample}: its sequences would count twice" }
    if (faults) {
        error("The sample sheet ${sheet} cannot be followed:\n  ${faults.join('\n  ')}")
    }
    return listed
}

/** Sample and files of a row, and what is wrong with it. */
def checkedRow(row, line, columns, sheet) {
    def names = columns.collect { column -> row[column] }.findAll()
    def files = names.collect { name -> name =~ '^([a-z0-9]+:/)?/' ? file(name) : sheet.parent.resolve(name) }
    def faults = []
    if (!row.sample) {
        faults << "line ${line}: no sample"
    }
    if (!names) {
        faults << "line ${line}: no file"
    }
    faults += files.findAll { path -> !path.exists() }.collect { path -> "line ${line}: ${path} of ${row.sample} is missing" }
    return [sample: row.sample, files: files.collect { path -> path.normalize() }, faults: faults]
}

/** The bundle's folder, to be staged; nothing for the executable's own. */
def bundleOf(model, models) {
    if (!model || model == 'mini') {
        return []
    }
    def places = [file(model)] + "${models ?: ''}".tokenize(':').collect { folder -> file("${folder}/${model}") }
    def found = places.find { folder -> folder.resolve('bundle.yaml').exists() }
    if (!found) {
        error("--model ${model}: no bundle in ${places.join(', ')}. Give its folder (virnucpro models path NAME), or the folder that holds it with --models")
    }
    return found
}

/** The window length that a bundle is made for, if it names one. */
def windowOf(bundle) {
    def named = bundle ? bundle.resolve('bundle.yaml').text =~ /(?m)^window:\s*(\d+)/ : null
    return named ? named[0][1] : []
}
