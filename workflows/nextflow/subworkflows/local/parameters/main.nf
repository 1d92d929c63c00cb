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

/** Ends the run where a parameter is unknown or has a value that it cannot have. */
def checkParameters(given) {
    def known = described().collectEntries { group -> group.properties }
    def faults = given.collect { name, value ->
        known.containsKey(name) ? faultOf(name, value, known[name]) : "--${name} is not a parameter"
    }
    faults = faults.findAll()
    if (faults) {
        error("${faults.join('\n')}\nThe parameters: nextflow run . --help")
    }
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
    return null
}
