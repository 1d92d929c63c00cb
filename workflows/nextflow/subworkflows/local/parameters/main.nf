// Parameters, as nextflow_schema.json describes them.

def described() {
    def schema = new groovy.json.JsonSlurper().parseText(file("${projectDir}/../../nextflow_schema.json").text)
    return schema['$defs'].values()
}

def helpText() {
    def groups = described().collect { group ->
        def lines = group.properties.collect { name, about -> helpLine(name, about) }
        return "${group.title}\n${lines.join('\n')}"
    }
    return "nextflow run . -profile PROFILE --input SHEET --outdir DIR\n\n${groups.join('\n\n')}\n"
}

def helpLine(name, about) {
    def choices = about['enum'] ? " (${about['enum'].join(', ')})" : ''
    def otherwise = about.default != null ? " [${about.default}]" : ''
    return "  --${name.padRight(20)} ${about.description}${choices}${otherwise}"
}

/**
 * Ends the run where a parameter has a value that it cannot have. One that is not ours is a mistake, or comes from the
 * configuration of a site, which is written for many pipelines: the run goes on.
 */
def checkParameters(given) {
    def known = described().collectEntries { group -> group.properties }
    given.keySet().findAll { name -> !known.containsKey(name) }.each { name ->
        def near = known.keySet().findAll { ours -> distance(plain(name), plain(ours)) < 3 }
        log.warn("--${name} is not a parameter of this workflow and has no effect${near ? ": is --${near.join(' or --')} meant?" : ''}")
    }
    def faults = given.collect { name, value -> known.containsKey(name) ? faultOf(name, value, known[name]) : null }
    faults << orderFault(given.viral_share, given.mixed_share)
    faults << (given.fdr != null && given.min_p != null ? '--fdr takes the place of --min_p: give one of them' : null)
    faults = faults.findAll()
    if (faults) {
        error("${faults.join('\n')}\nThe parameters: nextflow run . --help")
    }
}

/** A name without what separates its words. */
def plain(name) {
    return name.toLowerCase().replaceAll('[-_]', '')
}

/** How many letters must be put in, left out or exchanged to make one word of another. */
def distance(one, other) {
    def letters = other.toList().withIndex()
    def last = one.toList().inject((0..other.size()).toList()) { above, letter ->
        letters.inject([above[0] + 1]) { row, pair ->
            row + [row[-1] + 1, above[pair[1] + 1] + 1, above[pair[1]] + (letter == pair[0] ? 0 : 1)].min()
        }
    }
    return last[-1]
}

/** What is wrong with the order of the cut-offs: the executable would find it after all the work. */
def orderFault(viral, mixed) {
    def shares = [viral, mixed].collect { share -> "${share}" }
    if (!shares.every { share -> share.isNumber() } || shares[1].toBigDecimal() <= shares[0].toBigDecimal()) {
        return null
    }
    return "--mixed_share ${mixed}: expected at most --viral_share, which is ${viral}"
}

/** What is wrong with a value, if anything is. On the command line every value may arrive as text. */
def faultOf(name, value, about) {
    if (value == null) {
        return null
    }
    def text = value.toString()
    def number = text.isNumber() ? text.toBigDecimal() : null
    if (about['enum'] && !(text in about['enum'])) {
        return "--${name} ${text}: use ${about['enum'].join(' or ')}"
    }
    if (about.type == 'boolean' && !(text in ['true', 'false'])) {
        return "--${name} ${text}: use true or false"
    }
    if (about.type == 'integer' && !text.isInteger() || about.type == 'number' && number == null) {
        def expected = about.type == 'integer' ? 'a whole number' : 'a number'
        return "--${name} ${text}: expected ${expected}"
    }
    if (number != null && (about.minimum != null && number < about.minimum || about.maximum != null && number > about.maximum)) {
        def expected = about.maximum == null ? "at least ${about.minimum}" : "${about.minimum} to ${about.maximum}"
        return "--${name} ${text}: expected ${expected}"
    }
    if (number != null && about.exclusiveMinimum != null && (number <= about.exclusiveMinimum || number >= about.exclusiveMaximum)) {
        return "--${name} ${text}: expected a number above ${about.exclusiveMinimum} and below ${about.exclusiveMaximum}"
    }
    return null
}
