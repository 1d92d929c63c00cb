//! Files that were made to break a reader: refused with exit code 78, without a panic, and with nothing left behind.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::Sandbox;
use crate::support::bundle_parts::{BundleParts, DNABERT, ESM, HEAD};
use safetensors::Dtype;
use serde_json::{Value, json};
use virnucpro::bundle::import::{ImportRequest, import};
use virnucpro::error::Fault;

/// Header and data of a safetensors file.
fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn headers_that_lie_are_refused() {
    type Lie = fn(&mut Value);
    const BIAS: &str = "hidden_layer.bias";
    const NEXT: &str = "hidden_layer.weight";
    fn offsets(header: &Value, name: &str) -> [u64; 2] {
        serde_json::from_value(header[name]["data_offsets"].clone()).unwrap()
    }
    let lies: [(&str, Lie); 14] = [
        ("overlap", |h| h[BIAS]["data_offsets"] = h[NEXT]["data_offsets"].clone()),
        ("out of range", |h| h[BIAS]["data_offsets"] = json!([0, 1u64 << 40])),
        ("end before start", |h| {
            let [start, end] = offsets(h, BIAS);
            h[BIAS]["data_offsets"] = json!([end, start]);
        }),
        ("negative", |h| h[BIAS]["data_offsets"] = json!([-4, 0])),
        ("beyond 64 bits", |h| h[BIAS]["data_offsets"] = json!([0, 1e30])),
        ("a hole", |h| {
            h.as_object_mut().unwrap().remove(BIAS);
        }),
        ("shape times width overflows", |h| h[BIAS]["shape"] = json!([u64::MAX, u64::MAX])),
        ("shape times width wraps to the size", |h| h[BIAS]["shape"] = json!([1u64 << 62, 4])),
        ("another shape", |h| h[BIAS]["shape"] = json!([17])),
        ("no shape", |h| h[BIAS]["shape"] = json!(null)),
        ("another width", |h| h[BIAS]["dtype"] = json!("F16")),
        ("unknown numbers", |h| h[BIAS]["dtype"] = json!("F7")),
        ("an entry that is no object", |h| h[BIAS] = json!("x")),
        ("metadata that is no text", |h| h["__metadata__"] = json!({"a": {"b": 1}})),
    ];
    for (what, lie) in lies {
        let parts = BundleParts::new();
        let (mut header, data) = split(&fs::read(parts.path(HEAD)).unwrap());
        lie(&mut header);
        fs::write(parts.path(HEAD), file(&header.to_string(), &data)).unwrap();
        let error = parts.refused(Fault::ModelFormat);
        assert_eq!(error.path(), Some(&*parts.path(HEAD)), "{what}");
    }
}

#[test]
fn headers_without_end_are_refused_at_once_and_in_few_words() {
    let many = |entries: usize| {
        let entry = |n: usize| format!("\"t{n}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        format!("{{{}}}", (0..entries).map(entry).collect::<Vec<_>>().join(","))
    };
    let shape = |name: &str| {
        let zeros = "0,".repeat(2_000_000);
        format!("{{\"{name}\":{{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":[{zeros}0]}}}}")
    };
    let name = format!("{{\"{}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}}}", "x".repeat(15 << 20));
    for (what, bytes) in [
        ("a million entries", file(&many(1_000_000), b"")),
        ("as many as may be", file(&many(99_000), b"")),
        ("a million brackets", file(&format!("{{\"a\":{}", "[".repeat(1_000_000)), b"")),
        ("a long shape", file(&shape("a"), b"")),
        ("a long shape of a tensor that is wanted", file(&shape("hidden_layer.weight"), b"")),
        ("a long name", file(&name, b"")),
        ("a header longer than the file", (1u64 << 23).to_le_bytes().to_vec()),
        ("an absurd length", u64::MAX.to_le_bytes().to_vec()),
    ] {
        let parts = BundleParts::new();
        fs::write(parts.path(HEAD), &bytes).unwrap();
        let start = Instant::now();
        let error = parts.import().unwrap_err();
        assert_eq!(error.fault().exit_code(), 78, "{what}");
        let (told, json) = (error.report("import"), error.json());
        assert!(told.len() < 3000 && json.len() < 5000, "{what}: {} and {} bytes", told.len(), json.len());
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", start.elapsed());
        assert!(!parts.path("out").exists());
    }
}

#[test]
fn names_that_appear_twice_are_refused() {
    let parts = BundleParts::new();
    let (header, data) = split(&fs::read(parts.path(HEAD)).unwrap());
    let entry = &header["bn1.bias"];
    let twice = format!("{},\"bn1.bias\":{entry}}}", header.to_string().trim_end_matches('}').to_owned() + "}");
    fs::write(parts.path(HEAD), file(&twice, &data)).unwrap();
    let report = parts.refused(Fault::ModelFormat).report("import");
    assert!(report.contains("appears twice"), "{report}");
}

#[test]
fn a_weights_file_cut_at_any_256_bytes_is_refused_by_the_program_without_a_trace() {
    let parts = BundleParts::new();
    let whole = fs::read(parts.path(HEAD)).unwrap();
    let path = |name: &str| parts.path(name).to_str().unwrap().to_owned();
    let (dnabert, esm, head) = (path("dnabert"), path("esm"), path(HEAD));
    for length in (0..whole.len()).step_by(256) {
        let sandbox = Sandbox::new();
        fs::write(parts.path(HEAD), &whole[..length]).unwrap();
        let given = ["--dnabert", &dnabert, "--esm", &esm, "--head", &head];
        let ran = sandbox.run(&[&["models", "import", "--name", "x", "-o", "out"], &given[..]].concat());
        ran.fails(78, "VN-MODEL-FORMAT");
        assert_eq!(sandbox.folder().read_dir().unwrap().count(), 0, "{length}");
    }
}

/// Shapes that arithmetic on tensors would broadcast, and others that look right.
#[test]
fn shapes_that_would_be_broadcast_are_refused() {
    for (file, name, wrong) in [
        (ESM, "encoder.layer.0.attention.self.query.bias", &[1][..]),
        (ESM, "encoder.layer.0.attention.self.query.bias", &[1, 64]),
        (ESM, "encoder.layer.0.attention.self.query.bias", &[]),
        (ESM, "encoder.layer.0.attention.self.query.weight", &[4096]),
        (ESM, "encoder.layer.0.attention.self.query.weight", &[64, 64, 1]),
        (ESM, "encoder.layer.0.attention.self.query.weight", &[1, 64]),
        (ESM, "encoder.emb_layer_norm_after.weight", &[768]),
        (ESM, "embeddings.word_embeddings.weight", &[33, 0]),
        (ESM, "encoder.layer.2.attention.self.rotary_embeddings.inv_freq", &[16]),
        (DNABERT, "embeddings.token_type_embeddings.weight", &[2, 1]),
        (DNABERT, "encoder.layer.1.mlp.wo.weight", &[96, 48]),
        (HEAD, "hidden_layer.weight", &[112, 16]),
        (HEAD, "output_layer.bias", &[1]),
        (HEAD, "bn1.running_var", &[1]),
    ] {
        let parts = BundleParts::new();
        parts.change_tensors(file, |tensors| tensors.with(name, wrong));
        let error = parts.import().unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::ModelShape, Some(&*parts.path(file))), "{name} {wrong:?}");
        assert!(!parts.path("out").exists());
    }
}

#[test]
fn tensors_that_are_not_floating_point_are_refused() {
    for dtype in [Dtype::I64, Dtype::U8, Dtype::BOOL, Dtype::F8_E4M3] {
        let parts = BundleParts::new();
        parts.change_tensors(HEAD, |mut tensors| {
            let (stored, shape, bytes) = tensors.0.get_mut("hidden_layer.weight").unwrap();
            (*stored, *bytes) = (dtype, vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8]);
            tensors
        });
        let report = parts.refused(Fault::ModelTensors).report("import");
        assert!(report.contains(&format!("{dtype:?}").to_lowercase()), "{report}");
    }
}

/// A late tensor fails: what was written before it is on disk already.
#[test]
fn a_value_that_is_not_finite_leaves_nothing_behind() {
    for (file, name) in [(DNABERT, "embeddings.word_embeddings.weight"), (ESM, ESM_LAST), (HEAD, "output_layer.weight")]
    {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let parts = BundleParts::new();
            parts.change_tensors(file, |tensors| tensors.value(name, 3, value));
            let report = parts.refused(Fault::ModelNonFinite).report("import");
            assert!(report.contains(&format!("{name}, value 3")), "{report}");
        }
    }
}

const ESM_LAST: &str = "encoder.layer.2.output.dense.weight";

#[test]
fn an_index_that_was_made_to_break_a_reader_is_refused() {
    let map = |entries: &str| format!("{{\"weight_map\":{{{entries}}}}}");
    let many = (0..200_000).map(|n| format!("\"t{n}\":\"s{n}\"")).collect::<Vec<_>>().join(",");
    for (what, index) in [
        ("a million brackets", "{\"weight_map\":".to_owned() + &"[".repeat(1_000_000)),
        ("more tensors than may be", map(&many)),
        ("a shard that is a folder", map("\"a\":\"dnabert\"")),
        ("itself", map("\"a\":\"model.safetensors.index.json\"")),
        ("a path", map("\"a\":\"/etc/passwd\"")),
        ("a path up", map("\"a\":\"../head.safetensors\"")),
    ] {
        let parts = BundleParts::new();
        fs::remove_file(parts.path(ESM)).unwrap();
        fs::create_dir(parts.path("esm/dnabert")).unwrap();
        fs::write(parts.path("esm/model.safetensors.index.json"), index).unwrap();
        let error = parts.import().unwrap_err();
        assert_eq!(error.fault().exit_code(), 78, "{what}: {}", error.report("import"));
        assert!(error.json().len() < 5000 && !parts.path("out").exists(), "{what}");
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_and_not_waited_for() {
    let parts = BundleParts::new();
    fs::remove_file(parts.path(HEAD)).unwrap();
    let made = std::process::Command::new("mkfifo").arg(parts.path(HEAD)).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: there is no mkfifo");
        return;
    }
    parts.refused(Fault::ModelMissing);
    fs::create_dir(parts.path("folder")).unwrap();
    fs::rename(parts.path(HEAD), parts.path("folder/head.pth")).unwrap();
    let error = import(&ImportRequest { head: parts.path("folder"), ..parts.request() }).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelMissing);
}
