//! Text beside the tensors in another encoding.

use std::fs;

use crate::support::bundle_parts::{BundleParts, assert_same_as_untrained};
use virnucpro::error::Fault;

const TEXTS: [&str; 3] = ["dnabert/config.json", "dnabert/tokenizer.json", "esm/config.json"];

#[test]
fn a_byte_order_mark_does_not_get_into_the_bundle() {
    let parts = BundleParts::new();
    for file in TEXTS {
        let text = fs::read_to_string(parts.path(file)).unwrap();
        fs::write(parts.path(file), format!("\u{feff}{text}")).unwrap();
    }
    assert_same_as_untrained(&parts.import().unwrap());
}

#[test]
fn text_that_is_not_utf_8_is_told_with_its_encoding_or_its_place() {
    for file in TEXTS {
        let parts = BundleParts::new();
        let text = fs::read_to_string(parts.path(file)).unwrap();
        fs::write(parts.path(file), text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()).unwrap();
        assert!(parts.refused(Fault::ModelFormat).report("import").contains("UTF-16"), "{file}");
        fs::write(parts.path(file), b"{\n  \"a\": \"\xE9\"}").unwrap();
        assert!(parts.refused(Fault::ModelFormat).report("import").contains("line 2"), "{file}");
    }
}
