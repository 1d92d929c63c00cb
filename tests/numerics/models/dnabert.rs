//! DNABERT-S against the authors' code.

use virnucpro::device::Placement;
use virnucpro::device::attention::Kernel;
use virnucpro::error::Fault;
use virnucpro::model::dnabert::{Config, Dnabert, alibi_slopes};
use virnucpro::model::nn::Point;
use virnucpro::model::schema::Configuration;
use virnucpro::model::{Encoder, TensorEncoder};
use virnucpro::pack::TokenBatch;

use super::stored::{Stored, golden, text};
use super::{POOLED_TOLERANCE, TOKEN_TOLERANCE, distance, shuffled, values};

pub const DIM: usize = 48;
const RECORDS: usize = 30;

pub fn config() -> Config {
    Config::from_json(&text("dnabert/config.json")).unwrap()
}

/// The tiny weights file; a bundle holds no pooler.
pub fn weights() -> Stored {
    let all = Stored::read(&golden("dnabert/dnabert_tiny.safetensors"));
    all.rename(|name| (!name.starts_with("pooler.")).then(|| name.to_owned()))
}

pub fn load(weights: &Stored, config: &Config, compute: &Placement) -> Dnabert {
    Dnabert::load(&weights.file(), config, compute, &|| Ok(())).unwrap()
}

pub fn published() -> Dnabert {
    load(&weights(), &config(), &Placement::CPU)
}

pub fn vectors() -> Stored {
    Stored::read(&golden("dnabert/dnabert_golden.safetensors"))
}

/// Hidden states of one sequence, row-major [T, D].
pub fn represent(model: &Dnabert, ids: &[u32]) -> Vec<f32> {
    let batch = TokenBatch::of([ids]);
    values(&model.represent(&batch, &mut |_, _| ()).unwrap())
}

fn tokens(vectors: &Stored, record: &str) -> Vec<u32> {
    vectors.ids(&format!("tokens/{record}"))
}

#[test]
fn every_token_of_every_record_agrees() {
    let (model, vectors) = (published(), vectors());
    let records = vectors.records("hidden");
    assert!(records.len() >= 15);
    for record in records {
        let found = represent(&model, &tokens(&vectors, &record));
        let worst = distance(&found, &vectors.floats(&format!("hidden/{record}")));
        assert!(worst <= TOKEN_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn pooled_vectors_agree_alone() {
    let (model, vectors) = (published(), vectors());
    let records = vectors.records("pooled");
    assert_eq!(records.len(), RECORDS);
    for record in records {
        let found = model.embed(&TokenBatch::of([tokens(&vectors, &record)])).unwrap();
        let worst = distance(&found, &vectors.floats(&format!("pooled/{record}")));
        assert!(worst <= POOLED_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn attention_as_a_gpu_computes_it_agrees_in_one_batch_of_all_records() {
    let (mut model, vectors) = (published(), vectors());
    model.set_attention(Kernel::Math);
    let records = vectors.records("pooled");
    let batch = TokenBatch::of(records.iter().map(|record| tokens(&vectors, record)));
    let found = model.embed(&batch).unwrap();
    for (record, vector) in records.iter().zip(found.chunks(model.dim())) {
        let worst = distance(vector, &vectors.floats(&format!("pooled/{record}")));
        assert!(worst <= POOLED_TOLERANCE, "{record}: {worst}");
    }
}

#[test]
fn pooled_vectors_agree_in_any_batch_and_order() {
    let (model, vectors) = (published(), vectors());
    let mut records = vectors.records("pooled");
    let in_file_order = records.clone();
    records.sort_by_key(|record| tokens(&vectors, record).len());
    let several_at_once: Vec<_> = records.iter().flat_map(|record| [record.clone(), record.clone()]).collect();
    let permuted = shuffled(records.len()).into_iter().map(|i| records[i].clone()).collect();
    for order in [in_file_order, records, several_at_once, permuted] {
        let batch = TokenBatch::of(order.iter().map(|record| tokens(&vectors, record)));
        let found = model.embed(&batch).unwrap();
        assert_eq!(found.len(), order.len() * DIM);
        for (record, vector) in order.iter().zip(found.chunks(DIM)) {
            for stored in ["pooled", "pooled_masked_batch"] {
                let worst = distance(vector, &vectors.floats(&format!("{stored}/{record}")));
                assert!(worst <= POOLED_TOLERANCE, "{stored}/{record}: {worst}");
            }
        }
    }
}

#[test]
fn every_layer_agrees() {
    let (model, vectors) = (published(), vectors());
    let mut seen = 0;
    for record in vectors.records("debug_layer0") {
        let batch = TokenBatch::of([tokens(&vectors, &record)]);
        let mut points = Vec::new();
        let mut observe = |point: Point, x: &tch::Tensor| {
            let name = match point {
                Point::Embeddings => "debug_layer0".to_owned(),
                Point::Attention(0) => "debug_layer1_attn".to_owned(),
                Point::Attention(_) => return,
                Point::Layer(layer) => format!("debug_layer{}", layer + 1),
            };
            points.push((format!("{name}/{record}"), values(x)));
        };
        let _ = model.represent(&batch, &mut observe).unwrap();
        assert_eq!(points.len(), 5);
        for (name, found) in points {
            let worst = distance(&found, &vectors.floats(&name));
            assert!(worst <= TOKEN_TOLERANCE, "{name}: {worst}");
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

#[test]
fn slopes_are_those_of_upstream() {
    assert_eq!(alibi_slopes(12), vectors().floats("alibi_slopes"));
    assert_eq!(alibi_slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
    assert_eq!(alibi_slopes(1), [0.00390625]);
    assert_eq!(alibi_slopes(3), [0.0625, 0.00390625, 0.25]);
}

#[test]
fn a_sequence_without_tokens_or_of_another_vocabulary_is_an_error() {
    let model = published();
    for (ids, fault) in [(vec![], Fault::Bug), (vec![1, 4096, 2], Fault::ModelTokenizer)] {
        assert_eq!(model.embed(&TokenBatch::of([ids])).unwrap_err().fault(), fault);
    }
}

#[test]
fn a_configuration_that_is_not_followed_is_refused() {
    let json: serde_json::Value = serde_json::from_str(&text("dnabert/config.json")).unwrap();
    for (name, value) in [
        ("hidden_act", "relu".into()),
        ("num_attention_heads", 7.into()),
        ("layer_norm_eps", (-1e-12).into()),
        ("layer_norm_eps", serde_json::Value::Null),
        ("type_vocab_size", 0.into()),
        ("alibi_starting_size", serde_json::Value::Null),
    ] {
        let mut altered = json.clone();
        altered[name] = value;
        let error = Config::from_json(&altered.to_string()).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelConfig, "{name}");
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let name = "encoder.layer.2.mlp.layernorm.bias";
    let file = weights().without(name).file();
    let error = Dnabert::load(&file, &config(), &Placement::CPU, &|| Ok(())).map(|_| ()).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelTensors);
    assert!(error.to_string().contains(name), "{error}");
}
