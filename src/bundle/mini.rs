//! The bundle inside the executable: tiny models with random weights. `bundles/README.md` says how it was made.

/// Name it is asked for by.
pub(super) const NAME: &str = "mini";

/// Its files, by path within the bundle.
pub(super) static FILES: [(&str, &[u8]); 8] = [
    ("bundle.yaml", include_bytes!("../../bundles/mini/bundle.yaml")),
    ("dnabert/config.json", include_bytes!("../../bundles/mini/dnabert/config.json")),
    ("dnabert/model.safetensors", include_bytes!("../../bundles/mini/dnabert/model.safetensors")),
    ("dnabert/tokenizer.json", include_bytes!("../../bundles/mini/dnabert/tokenizer.json")),
    ("esm/config.json", include_bytes!("../../bundles/mini/esm/config.json")),
    ("esm/model.safetensors", include_bytes!("../../bundles/mini/esm/model.safetensors")),
    ("vectors.json", include_bytes!("../../bundles/mini/vectors.json")),
    ("head.safetensors", include_bytes!("../../bundles/mini/head.safetensors")),
];
