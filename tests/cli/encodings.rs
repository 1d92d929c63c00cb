//! Text files of other encodings are read where that is safe, and named where it is not.

use crate::support::{Random, Sandbox, repository};

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_manifest_of_another_encoding_is_read_or_told_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(5).fasta(2, 600));
    let chunk = || sandbox.run(&["chunk", "x.fa", "-o", "out"]);
    chunk().ok();
    let text = sandbox.text("out/manifest.json");
    sandbox.write("out/manifest.json", format!("\u{feff}{text}"));
    chunk().ok().says(&["already complete"]);
    for (content, says) in [(wide(&text), "UTF-16"), (b"{\n\"tool\": \"\xFF\"".to_vec(), "line 2")] {
        sandbox.write("out/manifest.json", content);
        let ran = chunk();
        ran.fails(3, "VN-CKPT-HASH");
        ran.says(&["manifest.json", says, "--overwrite"]);
    }
}

#[test]
fn a_bundle_yaml_of_another_encoding_is_read_or_told_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCA\n");
    let text = std::fs::read_to_string(repository().join("bundles/mock/bundle.yaml")).unwrap();
    sandbox.write("bundle/bundle.yaml", format!("\u{feff}{text}"));
    sandbox.run(&["run", "x.fa", "-m", "./bundle", "-o", "out"]).ok();
    sandbox.write("bundle/bundle.yaml", wide(&text));
    let ran = sandbox.run(&["run", "x.fa", "-m", "./bundle", "-o", "other"]);
    ran.fails(78, "VN-MODEL-FORMAT");
    ran.says(&["bundle.yaml", "UTF-16", "iconv"]);
}
