//! The bundle inside the executable: composition features and a trained head. `docs/mini.md` is its card, `training/` makes it.

/// Name it is asked for by.
pub(super) const NAME: &str = "mini";

/// Its files, by path within the bundle.
pub(super) static FILES: [(&str, &[u8]); 4] = [
    ("bundle.yaml", include_bytes!("../../bundles/mini/bundle.yaml")),
    ("card.json", include_bytes!("../../bundles/mini/card.json")),
    ("head.safetensors", include_bytes!("../../bundles/mini/head.safetensors")),
    ("vectors.json", include_bytes!("../../bundles/mini/vectors.json")),
];
