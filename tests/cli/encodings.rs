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

/// Every wide encoding of a text, by the name that iconv knows, with and without a byte order mark.
fn encodings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for text in [text.to_owned(), format!("\u{feff}{text}")] {
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
        let wider = |bytes: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| bytes(c.into())).collect();
        all.push(("UTF-16LE", wide(u16::to_le_bytes)));
        all.push(("UTF-16BE", wide(u16::to_be_bytes)));
        all.push(("UTF-32LE", wider(u32::to_le_bytes)));
        all.push(("UTF-32BE", wider(u32::to_be_bytes)));
    }
    all
}

#[test]
fn the_command_for_a_wide_encoding_names_this_very_one() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCA\n");
    let refused = |args: &[&str], (code, fault), name: &str| {
        let ran = sandbox.run(args);
        ran.fails(code, fault);
        ran.says(&[&format!("`iconv -f {name} -t UTF-8`")]);
    };
    for (name, content) in encodings(">a\nATGGCCGCA\n") {
        sandbox.write("wide.fa", content);
        refused(&["chunk", "wide.fa", "-o", "out"], (65, "VN-IN-ENCODING"), name);
    }
    for (name, content) in encodings("sample,file\na,x.fa\n") {
        sandbox.write("wide.csv", content);
        refused(&["chunk", "wide.csv", "-o", "out"], (65, "VN-IN-SHEET"), name);
    }
    for (name, content) in encodings("window: 300\n") {
        sandbox.write("wide.yaml", content);
        refused(&["chunk", "x.fa", "-o", "out", "--config", "wide.yaml"], (78, "VN-CONFIG"), name);
    }
}
