//! Names of tensors: published schemes to the one of bundles, which is Hugging Face's for bare models.

/// What becomes of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Written under this name.
    Keep(String),
    /// Known, and of no use for vectors.
    Drop,
}

/// Fate of a tensor of an ESM-2 weights file, with fair-esm's or Hugging Face's names; none when it is not known.
pub(super) fn esm(name: &str) -> Option<Fate> {
    let prefixes = ["", "esm.", "encoder.sentence_encoder.", "encoder."];
    prefixes.iter().find_map(|prefix| esm_bare(name.strip_prefix(prefix)?))
}

/// Fate of a tensor of a DNABERT-2 style weights file.
pub(super) fn dnabert(name: &str) -> Option<Fate> {
    ["", "bert."].iter().find_map(|prefix| dnabert_bare(name.strip_prefix(prefix)?))
}

/// Fate of a tensor of the classifier.
pub(super) fn head(name: &str) -> Option<Fate> {
    const KEPT: [&str; 8] = [
        "hidden_layer.weight",
        "hidden_layer.bias",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "output_layer.weight",
        "output_layer.bias",
    ];
    match name {
        "bn1.num_batches_tracked" => Some(Fate::Drop),
        _ if KEPT.contains(&name) => Some(Fate::Keep(name.to_owned())),
        _ => None,
    }
}

/// Names of the kinds of models, as they stand in messages.
pub(super) const ESM: &str = "an ESM-2 weights file";
pub(super) const DNABERT: &str = "a DNABERT-2 or DNABERT-S weights file";
pub(super) const HEAD: &str = "a VirNucPro classifier";

/// The kind of model that most of the tensors belong to.
pub(super) fn kind<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let total = names.clone().count();
    if total > 0 && names.clone().all(|name| name.contains("contact_head.regression.")) {
        return Some("the contact regression of an ESM model, which stands beside the model itself");
    }
    let known = |kind, fate: fn(&str) -> Option<Fate>| {
        let kept = names.clone().filter(|name| matches!(fate(name), Some(Fate::Keep(_))));
        (kept.count(), kind)
    };
    let best =
        [known(ESM, esm), known(DNABERT, dnabert), known(HEAD, head)].into_iter().max_by_key(|(count, _)| *count);
    best.filter(|(count, _)| 2 * count > total).map(|(_, kind)| kind)
}

/// Number of the layer that a tensor of a bundle belongs to.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    Some(in_layer(name, "encoder.layer.")?.0)
}

/// Modules with weight and bias: in fair-esm, in a bundle.
const ESM_LAYER: [(&str, &str); 8] = [
    ("self_attn_layer_norm", "attention.LayerNorm"),
    ("self_attn.q_proj", "attention.self.query"),
    ("self_attn.k_proj", "attention.self.key"),
    ("self_attn.v_proj", "attention.self.value"),
    ("self_attn.out_proj", "attention.output.dense"),
    ("final_layer_norm", "LayerNorm"),
    ("fc1", "intermediate.dense"),
    ("fc2", "output.dense"),
];

fn esm_bare(name: &str) -> Option<Fate> {
    const WORDS: &str = "embeddings.word_embeddings.weight";
    if let Some((layer, rest)) = in_layer(name, "layers.") {
        return Some(Fate::Keep(format!("encoder.layer.{layer}.{}", esm_in_layer(rest, |(fair, _)| fair)?)));
    }
    if let Some((layer, rest)) = in_layer(name, "encoder.layer.") {
        return Some(Fate::Keep(format!("encoder.layer.{layer}.{}", esm_in_layer(rest, |(_, own)| own)?)));
    }
    match name {
        "embed_tokens.weight" | WORDS => Some(Fate::Keep(WORDS.to_owned())),
        "emb_layer_norm_after.weight" | "emb_layer_norm_after.bias" => Some(Fate::Keep(format!("encoder.{name}"))),
        "encoder.emb_layer_norm_after.weight" | "encoder.emb_layer_norm_after.bias" => {
            Some(Fate::Keep(name.to_owned()))
        }
        // With rotary positions, the learned ones that Hugging Face allocates are never looked at.
        "embeddings.position_ids" | "embeddings.position_embeddings.weight" => Some(Fate::Drop),
        _ if starts_with_one_of(name, &["lm_head.", "contact_head.", "pooler."]) => Some(Fate::Drop),
        _ => None,
    }
}

/// The bundle's name of a tensor within a layer; `side` picks the scheme that `rest` is in.
fn esm_in_layer(rest: &str, side: fn((&'static str, &'static str)) -> &'static str) -> Option<String> {
    const INV_FREQ: (&str, &str) = ("self_attn.rot_emb.inv_freq", "attention.self.rotary_embeddings.inv_freq");
    if rest == side(INV_FREQ) {
        return Some(INV_FREQ.1.to_owned());
    }
    let (module, kind) = rest.rsplit_once('.')?;
    let (_, own) = ESM_LAYER.into_iter().find(|&names| side(names) == module)?;
    matches!(kind, "weight" | "bias").then(|| format!("{own}.{kind}"))
}

fn dnabert_bare(name: &str) -> Option<Fate> {
    const IN_LAYER: [&str; 11] = [
        "attention.self.Wqkv.weight",
        "attention.self.Wqkv.bias",
        "attention.output.dense.weight",
        "attention.output.dense.bias",
        "attention.output.LayerNorm.weight",
        "attention.output.LayerNorm.bias",
        "mlp.gated_layers.weight",
        "mlp.wo.weight",
        "mlp.wo.bias",
        "mlp.layernorm.weight",
        "mlp.layernorm.bias",
    ];
    const EMBEDDINGS: [&str; 4] = [
        "embeddings.word_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
    ];
    let known = match in_layer(name, "encoder.layer.") {
        Some((_, rest)) => IN_LAYER.contains(&rest),
        None => EMBEDDINGS.contains(&name),
    };
    if known {
        return Some(Fate::Keep(name.to_owned()));
    }
    let unneeded = name == "embeddings.position_ids" || starts_with_one_of(name, &["pooler.", "cls."]);
    unneeded.then_some(Fate::Drop)
}

/// Layer and rest of a name as `encoder.layer.7.output.dense.weight`.
fn in_layer<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (digits, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    let layer: usize = digits.parse().ok()?;
    (layer.to_string() == digits).then_some((layer, rest))
}

fn starts_with_one_of(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(name: &str) -> Option<Fate> {
        Some(Fate::Keep(name.to_owned()))
    }

    #[test]
    fn one_tensor_has_one_name_whatever_the_scheme() {
        let query = "encoder.layer.12.attention.self.query.weight";
        for name in [
            "layers.12.self_attn.q_proj.weight",
            "encoder.sentence_encoder.layers.12.self_attn.q_proj.weight",
            "encoder.layers.12.self_attn.q_proj.weight",
            "esm.encoder.layer.12.attention.self.query.weight",
            query,
        ] {
            assert_eq!(esm(name), keep(query), "{name}");
        }
        assert_eq!(dnabert("bert.encoder.layer.0.mlp.wo.bias"), keep("encoder.layer.0.mlp.wo.bias"));
    }

    #[test]
    fn a_model_is_told_by_most_of_its_names() {
        let kind = |names: &[&'static str]| kind(names.iter().copied());
        let esm = ["layers.0.fc1.weight", "esm.encoder.layer.0.output.dense.bias", "lm_head.bias"];
        assert_eq!(kind(&esm), Some(ESM));
        assert_eq!(kind(&["bert.encoder.layer.0.attention.self.Wqkv.weight"]), Some(DNABERT));
        assert_eq!(kind(&["hidden_layer.weight", "bn1.bias", "x"]), Some(HEAD));
        assert!(kind(&["contact_head.regression.weight"]).is_some_and(|kind| kind.contains("contact regression")));
        assert_eq!((kind(&["x", "y"]), kind(&[])), (None, None));
    }

    #[test]
    fn the_two_layer_norms_of_esm_are_told_apart() {
        let norm = |name: &str| esm(&format!("layers.0.{name}.bias"));
        assert_eq!(norm("self_attn_layer_norm"), keep("encoder.layer.0.attention.LayerNorm.bias"));
        assert_eq!(norm("final_layer_norm"), keep("encoder.layer.0.LayerNorm.bias"));
    }

    #[test]
    fn what_vectors_do_not_need_is_dropped_and_the_unknown_is_not() {
        for name in [
            "lm_head.weight",
            "encoder.lm_head.bias",
            "esm.contact_head.regression.weight",
            "esm.embeddings.position_ids",
        ] {
            assert_eq!(esm(name), Some(Fate::Drop), "{name}");
        }
        for name in ["cls.predictions.decoder.bias", "bert.pooler.dense.weight"] {
            assert_eq!(dnabert(name), Some(Fate::Drop), "{name}");
        }
        assert_eq!(head("bn1.num_batches_tracked"), Some(Fate::Drop));
        for name in [
            "layers.0.weight",
            "layers.0..weight",
            "layers.0.fc3.weight",
            "layers.00.fc1.weight",
            "layers.-1.fc1.weight",
            "layers.0.fc1.scale",
            "encoder.layer.0.fc1.weight",
            "embed_positions.weight",
        ] {
            assert_eq!(esm(name), None, "{name}");
        }
        assert_eq!(dnabert("encoder.layer.0.attention.self.query.weight"), None);
        assert_eq!(head("hidden_layer"), None);
    }
}
