//! ESM-2 against fair-esm.

use std::collections::HashMap;

use virnucpro::device::Placement;
use virnucpro::device::attention::Kernel;
use virnucpro::error::Fault;
use virnucpro::model::esm2::{Config, Esm2};
use virnucpro::model::nn::Point;
use virnucpro::model::schema::Configuration;
use virnucpro::model::{Encoder, TensorEncoder};
use virnucpro::pack::TokenBatch;

use super::stored::{Stored, golden, text};
use super::{POOLED_TOLERANCE, TOKEN_TOLERANCE, distance, shuffled, values};

pub const DIM: usize = 64;
pub const LAYERS: usize = 3;

pub fn config() -> Config {
    Config::from_json(&text("esm/config.json")).unwrap()
}

/// The tiny weights file under the names of a bundle.
pub fn weights() -> Stored {
    let mapping: serde_json::Value = serde_json::from_str(&text("esm/hf_mapping.json")).unwrap();
    let names: HashMap<String, String> = serde_json::from_value(mapping["mapping fair-esm -> HF"].clone()).unwrap();
    Stored::read(&golden("esm/esm2_tiny.safetensors")).rename(|name| {
        let name = names.get(name)?.strip_prefix("esm.")?;
        (!name.starts_with("contact_head")).then(|| name.to_owned())
    })
}

pub fn load(weights: &Stored, config: &Config, compute: &Placement) -> Esm2 {
    Esm2::load(&weights.file(), config, compute, &|| Ok(())).unwrap()
}

pub fn published() -> Esm2 {
    load(&weights(), &config(), &Placement::CPU)
}

pub fn vectors() -> Stored {
    Stored::read(&golden("esm/esm2_golden.safetensors"))
}

/// Records whose mean goes over their residues: not those of upstream's string length, nor the empty one.
pub fn pooled_records(vectors: &Stored) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_str(&text("esm/manifest_esm.json")).unwrap();
    let over_residues = |record: &serde_json::Value| {
        let tokens = record["n_tokens"].as_u64().unwrap() as usize;
        tokens > 2 && record["pooled_rows"] == serde_json::json!([1, 1 + (tokens - 2).min(1024)])
    };
    let records: Vec<String> = manifest["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| over_residues(record))
        .map(|record| record["id"].as_str().unwrap().to_owned())
        .filter(|id| vectors.has(&format!("pooled_alone/{id}")))
        .collect();
    assert!(records.len() >= 25, "{}", records.len());
    records
}

/// Representations of one sequence, row-major [T, D].
pub fn represent(model: &Esm2, ids: &[u32]) -> Vec<f32> {
    let batch = TokenBatch::of([ids]);
    values(&model.represent(&batch, &mut |_, _| ()).unwrap())
}

fn tokens(vectors: &Stored, record: &str) -> Vec<u32> {
    vectors.ids(&format!("tokens/{record}"))
}

#[test]
fn every_token_of_every_record_agrees() {
    let (model, vectors) = (published(), vectors());
    let records = vectors.records("reps_alone");
    assert!(records.len() >= 20);
    for record in records {
        let found = represent(&model, &tokens(&vectors, &record));
        let worst = distance(&found, &vectors.floats(&format!("reps_alone/{record}")));
        assert!(worst <= TOKEN_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn pooled_vectors_agree_alone() {
    let (model, vectors) = (published(), vectors());
    for record in pooled_records(&vectors) {
        let found = model.embed(&TokenBatch::of([tokens(&vectors, &record)])).unwrap();
        let worst = distance(&found, &vectors.floats(&format!("pooled_alone/{record}")));
        assert!(worst <= POOLED_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn attention_as_a_gpu_computes_it_agrees_in_one_batch_of_all_records() {
    let (mut model, vectors) = (published(), vectors());
    model.set_attention(Kernel::Math);
    let records = pooled_records(&vectors);
    let batch = TokenBatch::of(records.iter().map(|record| tokens(&vectors, record)));
    let found = model.embed(&batch).unwrap();
    for (record, vector) in records.iter().zip(found.chunks(model.dim())) {
        let worst = distance(vector, &vectors.floats(&format!("pooled_alone/{record}")));
        assert!(worst <= POOLED_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn pooled_vectors_agree_in_any_batch_and_order() {
    let (model, vectors) = (published(), vectors());
    let mut records = pooled_records(&vectors);
    let in_file_order = records.clone();
    records.sort_by_key(|record| tokens(&vectors, record).len());
    let several_at_once: Vec<_> = records.iter().flat_map(|record| [record.clone(), record.clone()]).collect();
    let permuted = shuffled(records.len()).into_iter().map(|i| records[i].clone()).collect();
    for order in [in_file_order, records, several_at_once, permuted] {
        let batch = TokenBatch::of(order.iter().map(|record| tokens(&vectors, record)));
        let found = model.embed(&batch).unwrap();
        assert_eq!(found.len(), order.len() * DIM);
        for (record, vector) in order.iter().zip(found.chunks(DIM)) {
            for stored in ["pooled_alone", "pooled_one_big_batch", "pooled_virnucpro_batches"] {
                let name = format!("{stored}/{record}");
                if vectors.has(&name) {
                    let worst = distance(vector, &vectors.floats(&name));
                    assert!(worst <= POOLED_TOLERANCE, "{name}: {worst}");
                }
            }
        }
    }
}

#[test]
fn weights_of_half_precision_is_read_as_it_is() {
    let vectors = vectors();
    let model = load(&weights().in_f16(), &config(), &Placement::CPU);
    for record in pooled_records(&vectors) {
        let found = model.embed(&TokenBatch::of([tokens(&vectors, &record)])).unwrap();
        let worst = distance(&found, &vectors.floats(&format!("pooled_alone_fp16ckpt/{record}")));
        assert!(worst <= POOLED_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn every_layer_agrees() {
    let (model, vectors) = (published(), vectors());
    let mut seen = 0;
    for record in vectors.records("debug_layer0") {
        let batch = TokenBatch::of([tokens(&vectors, &record)]);
        let mut points = Vec::new();
        let mut observe = |point: Point, x: &tch::Tensor| match point {
            Point::Embeddings => points.push((0, values(x))),
            Point::Layer(layer) if layer + 1 < LAYERS => points.push((layer + 1, values(x))),
            _ => (),
        };
        let last = model.represent(&batch, &mut observe).unwrap();
        points.push((LAYERS, values(&last)));
        assert_eq!(points.len(), LAYERS + 1);
        for (layer, found) in points {
            let worst = distance(&found, &vectors.floats(&format!("debug_layer{layer}/{record}")));
            assert!(worst <= TOKEN_TOLERANCE, "{record}, layer {layer}: {worst}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3 * (LAYERS + 1));
}

#[test]
fn a_model_works_the_same_in_another_thread() {
    let (model, vectors) = (published(), vectors());
    let batch = TokenBatch::of([tokens(&vectors, "rand_33")]);
    let here = model.embed(&batch).unwrap();
    let there = std::thread::spawn(move || model.embed(&batch).unwrap()).join().unwrap();
    assert_eq!(here, there);
}

#[test]
fn an_empty_batch_gives_no_vectors() {
    assert_eq!(published().embed(&TokenBatch::new()).unwrap(), Vec::<f32>::new());
}

#[test]
fn sequences_the_model_cannot_take_are_errors() {
    let model = published();
    for (ids, fault) in [
        (vec![0, 2], Fault::Bug),
        (vec![0], Fault::Bug),
        (vec![], Fault::Bug),
        (vec![0, 5, 33, 2], Fault::ModelTokenizer),
        (vec![0, 5, 2, 1], Fault::ModelTokenizer),
    ] {
        let error = model.embed(&TokenBatch::of([ids.clone()])).unwrap_err();
        assert_eq!(error.fault(), fault, "{ids:?}: {error}");
    }
}

#[test]
fn missing_rotary_frequencies_are_never_recomputed() {
    let name = "encoder.layer.1.attention.self.rotary_embeddings.inv_freq";
    let file = weights().without(name).file();
    let error = Esm2::load(&file, &config(), &Placement::CPU, &|| Ok(())).map(|_| ()).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelTensors);
    let report = error.report("virnucpro");
    assert!(report.contains(name) && report.contains("never recomputed"), "{report}");
}

#[test]
fn a_tensor_left_over_is_refused() {
    let file = weights().rename(|name| Some(name.to_owned())).file();
    let mut config = config();
    config.num_hidden_layers -= 1;
    let error = Esm2::load(&file, &config, &Placement::CPU, &|| Ok(())).map(|_| ()).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelTensors);
    assert!(error.report("virnucpro").contains("encoder.layer.2."), "{}", error.report("virnucpro"));
}

#[test]
fn a_configuration_that_is_not_followed_is_refused() {
    let json: serde_json::Value = serde_json::from_str(&text("esm/config.json")).unwrap();
    for (name, value) in [
        ("hidden_act", "gelu_new".into()),
        ("position_embedding_type", "absolute".into()),
        ("emb_layer_norm_before", true.into()),
        ("num_attention_heads", 5.into()),
        ("num_attention_heads", 64.into()),
        ("num_attention_heads", 0.into()),
        ("num_hidden_layers", 0.into()),
        ("layer_norm_eps", 0.0.into()),
        ("layer_norm_eps", serde_json::Value::Null),
        ("token_dropout", serde_json::Value::Null),
        ("token_dropout", false.into()),
        ("is_folding_model", true.into()),
        ("mask_token_id", 31.into()),
        ("pad_token_id", 0.into()),
        ("layer_norm_eps", 0.1.into()),
        ("num_hidden_layers", 1025.into()),
        ("hidden_size", "wide".into()),
        ("vocab_size", u64::MAX.into()),
    ] {
        let mut altered = json.clone();
        altered[name] = value;
        let error = Config::from_json(&altered.to_string()).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelConfig, "{name}");
    }
    assert_eq!(Config::from_json("").unwrap_err().fault(), Fault::ModelConfig);
}
