// What is read: a sample sheet, or files by a glob. Every fault of a sheet is reported at once, before any task.

/** Pairs of meta map and files, one for each sample. */
def samplesOf(input) {
    if (!input) {
        error("--input is missing: a sample sheet (.csv, .tsv), a file of sequences, or a quoted glob such as 'reads/*.fa.gz'")
    }
    def sheet = input =~ /(?i)\.(csv|tsv)$/
    def listed = sheet ? listedIn(file(input, glob: false, checkIfExists: true)) : foundBy(input)
    def misnamed = listed.collect { sample, _path -> sample }.unique().findAll { sample -> !(sample ==~ /[A-Za-z0-9_][A-Za-z0-9_.+-]*/) }
    if (misnamed) {
        error("Names of samples name folders: letters, digits and _ . + -, the first a letter, digit or _. Found: ${misnamed.join(', ')}. ${sheet ? '' : 'A sample sheet gives files other names.'}")
    }
    if (listed.any { sample, _path -> sample == 'pipeline_info' }) {
        error("A sample cannot be named pipeline_info: the folder of that name holds the reports of the run")
    }
    return listed
        .groupBy { sample, _path -> sample }
        .collect { sample, rows -> [[id: sample], rows.collect { _sample, path -> path }] }
}

/** Pairs of sample and file that a glob finds: a sample is named like its file. */
def foundBy(glob) {
    def literal = file(glob, glob: false)
    def files = literal.exists() ? [literal] : [file(glob)].flatten().findAll { path -> path.exists() }
    if (!files) {
        error("--input ${glob}: no such file")
    }
    if (literal.isDirectory()) {
        error("--input ${glob} is a folder: give a sample sheet, or a quoted glob such as '${glob}/*.fa.gz'")
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
    def lines = linesOf(sheet)
    if (lines.size() < 2) {
        error("The sample sheet ${sheet} lists no samples: expected a first line of sample,fasta or sample,fastq_1,fastq_2, then a line for each file")
    }
    def header = lines[0].cells
    def columns = ['file', 'fasta', 'fastq_1', 'fastq_2'].findAll { column -> column in header }
    if (!('sample' in header) || !columns) {
        error("The sample sheet ${sheet} has the columns ${header.join(', ')}: expected sample,fasta or sample,fastq_1,fastq_2")
    }
    def doubled = (['sample'] + columns).findAll { column -> header.count(column) > 1 }
    if (doubled) {
        error("The sample sheet ${sheet} has the column ${doubled.join(', ')} more than once: give further files of a sample lines of their own")
    }
    def checked = lines.drop(1).collect { line -> checkedRow(line, header, columns, sheet) }
    def faults = checked.collectMany { row -> row.faults }
    def listed = checked.collectMany { row -> row.files.collect { path -> [row.sample, path] } }
    def twice = listed.countBy { pair -> pair }.findAll { _pair, count -> count > 1 }.keySet()
    faults += twice.collect { sample, path -> "${path} is listed twice for ${sample}: its sequences would count twice" }
    if (faults) {
        error("The sample sheet ${sheet} cannot be followed:\n  ${faults.join('\n  ')}")
    }
    return listed
}

/** Number and cells of each line that is not blank. */
def linesOf(sheet) {
    def separator = sheet.name.toLowerCase().endsWith('.tsv') ? '\t' : ','
    def lines = new String(sheet.bytes, 'UTF-8').replace('\uFEFF', '').readLines()
    def unreadable = lines.findIndexOf { line -> line.contains('\uFFFD') }
    if (unreadable >= 0) {
        error("The sample sheet ${sheet} is not UTF-8, first in line ${unreadable + 1}: save it as UTF-8, or convert it with iconv, as in iconv -f ISO-8859-1 -t UTF-8")
    }
    return lines
        .withIndex()
        .findAll { line, _index -> line.trim() }
        .collect { line, index -> [number: index + 1, cells: cellsOf(line, separator)] }
}

/** Cells of a line, each bare or in quotes, in which a quote is doubled. */
def cellsOf(line, separator) {
    def cells = (separator + line) =~ "${separator}(?: *\"((?:[^\"]|\"\")*)\" *(?=${separator}|\$)|([^${separator}]*))"
    return cells.collect { _cell, quoted, bare -> (quoted == null ? bare : quoted.replace('""', '"')).trim() }
}

/** Sample and files of a line, and what is wrong with it. */
def checkedRow(listed, header, columns, sheet) {
    def line = listed.number
    def row = [header, listed.cells].transpose().collectEntries()
    def names = columns.collect { column -> row[column] }.findAll()
    // A name with brackets is a name here, and no pattern.
    def files = names.collect { name -> name =~ '^([a-z0-9]+:/)?/' ? file(name, glob: false) : sheet.parent.resolve(name) }
    def faults = []
    if (!row.sample) {
        faults << "line ${line}: no sample"
    }
    if (!names) {
        faults << "line ${line}: no file"
    }
    if (listed.cells.size() > header.size()) {
        faults << "line ${line}: ${listed.cells.size()} cells under ${header.size()} columns; put a name with a separator in quotes"
    }
    if (row.fastq_2 && !row.fastq_1) {
        faults << "line ${line}: fastq_2 without fastq_1"
    }
    faults += files.findAll { path -> !path.exists() }.collect { path -> "line ${line}: ${path} of ${row.sample} is missing" }
    faults += files.findAll { path -> path.isDirectory() }.collect { path -> "line ${line}: ${path} of ${row.sample} is a folder" }
    return [sample: row.sample, files: files.collect { path -> path.normalize() }, faults: faults]
}

/** The bundle's folder, to be staged; nothing for the executable's own. */
def bundleOf(model, models) {
    if (!model || model == 'mini') {
        return []
    }
    def places = [file(model, glob: false)] + "${models ?: ''}".tokenize(':').collect { folder -> file("${folder}/${model}", glob: false) }
    def found = places.find { folder -> folder.resolve('bundle.yaml').exists() }
    if (!found) {
        error("--model ${model}: no bundle in ${places.join(', ')}. Give its folder (virnucpro models path NAME), or the folder that holds it with --models")
    }
    return found
}

/** Whether all encoders of a bundle are such that vectors cost less to compute than to store; the executable's own is. */
def costsLittle(bundle) {
    if (!bundle) {
        return true
    }
    def about = new org.yaml.snakeyaml.Yaml().load(bundle.resolve('bundle.yaml').text)
    return [about.dnabert, about.esm].findAll().every { side -> side.family == 'composition' }
}
