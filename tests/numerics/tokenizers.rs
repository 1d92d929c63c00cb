//! Token ids against those of the reference programs; skipped, saying so, where the reference data are absent.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use virnucpro::tokenize::{ALPHABET, DnabertTokenizer, EsmTokenizer, Tokenize};

use crate::support::shared;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn dnabert_ids_are_those_of_the_published_tokeniser_also_where_it_carries_padding() {
    let Some(cases) = shared("golden/dnabert/tokenizer_golden.json") else { return };
    let files = ["golden/dnabert_tokenizer.json", "golden/dnabert/tokenizer_with_trunc2000_pad2000.json"];
    for file in files {
        let Some(file) = shared(file) else { return };
        let tokenizer = DnabertTokenizer::from_bytes(&std::fs::read(&file).unwrap(), &file).unwrap();
        assert_eq!(tokenizer.vocabulary(), 4096);
        let cases = json(&cases);
        let cases = cases["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 46);
        for case in cases {
            let sequence = case["sequence"].as_str().unwrap();
            assert_eq!(tokenizer.encode(sequence.as_bytes()).unwrap(), ids(&case["ids"]), "{}", case["id"]);
        }
    }
}

#[test]
fn esm_ids_are_those_of_fair_esm_and_the_alphabet_is_its_alphabet() {
    let Some(manifest) = shared("golden/esm/manifest_esm.json") else { return };
    let Some(golden) = shared("golden/esm/esm2_golden.safetensors") else { return };
    let (manifest, golden) = (json(&manifest), std::fs::read(golden).unwrap());
    let golden = SafeTensors::deserialize(&golden).unwrap();
    for (symbol, id) in manifest["alphabet"].as_object().unwrap() {
        assert_eq!(ALPHABET[id.as_u64().unwrap() as usize], symbol);
    }
    let mut compared = 0;
    for record in manifest["records"].as_array().unwrap() {
        let (id, sequence) = (record["id"].as_str().unwrap(), record["sequence"].as_str());
        // fair-esm takes symbols in brackets out of a sequence and drops spaces; this product does neither.
        let Some(sequence) = sequence.filter(|sequence| !sequence.contains(['<', ' '])) else { continue };
        let Ok(tokens) = golden.tensor(&format!("tokens/{id}")) else { continue };
        let expected: Vec<u32> =
            tokens.data().chunks_exact(8).map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect();
        assert_eq!(EsmTokenizer.encode(sequence.as_bytes()).unwrap(), expected, "{id}");
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} records compared");
}
