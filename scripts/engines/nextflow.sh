#!/bin/sh
# Nextflow for the tests of the workflows, from Maven Central: 25.04.3 and 24.10.8, 31 MB and 40 MB of jars in the target
# folder. Java 17 and Maven are installed by apt where they are missing and root asks. Nothing is installed elsewhere.
set -eu
cd "$(dirname "$0")/../.."
engines=${CARGO_TARGET_DIR:-target}/engines

have() {
    command -v java >/dev/null && command -v mvn >/dev/null
}

if ! have && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "nextflow: apt-get install openjdk-17-jre-headless maven"
    export DEBIAN_FRONTEND=noninteractive
    install="apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 openjdk-17-jre-headless maven"
    $install >/dev/null || { apt-get update -q >/dev/null && $install >/dev/null; } || true
fi
if ! have; then
    echo "nextflow: not installed: that takes Java 17 and Maven (openjdk-17-jre-headless, maven): its tests will be skipped"
    exit 0
fi
for version in 25.04 24.10; do
    pom=tests/workflows/engines/nextflow-$version.pom.xml
    folder=$engines/nextflow-$version
    if ! cmp -s "$pom" "$folder/pom.xml"; then
        rm -rf "$folder"
        mkdir -p "$folder"
        folder=$(cd "$folder" && pwd)
        # -f: a pom in the working folder would be taken for this one.
        if ! mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DoutputDirectory="$folder/lib" -DincludeScope=runtime; then
            echo "nextflow: Maven could not fetch $version; its message is above: its tests will be skipped"
            exit 0
        fi
        # Last, as it says that the jars are complete.
        cp "$pom" "$folder/pom.xml"
    fi
    cp tests/workflows/engines/nextflow "$folder/nextflow"
    echo "nextflow: $("$folder/nextflow" -v 2>&1 | tail -n 1) in $folder"
done
