//! Names of tensors: published schemes to the one of bundles, which is Hugging Face's for bare models.

use std::sync::LazyLock;

use crate::bundle::Component;
use crate::model::schema::{Configuration, Schema, dnabert, esm2, head, numbered};

/// What becomes of a published tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// It goes into the bundle under this name.
    Kept(String),
    /// It is known, and no vector or score needs it.
    Unneeded,
}

/// What becomes of a tensor of this name in a weights file of `component`; none for an unknown name.
pub(super) fn mapping(component: Component, name: &str) -> Option<Mapping> {
    let without = |prefixes: &[&str], mapping: fn(&str) -> Option<Mapping>| {
        prefixes.iter().find_map(|prefix| mapping(name.strip_prefix(prefix)?))
    };
    match component {
        Component::Dnabert => without(&["", "bert."], dnabert),
        Component::Esm => without(&["", "esm.", "encoder.sentence_encoder.", "encoder."], esm),
        Component::Head => head(name),
    }
}

/// What a weights file of `component` is called in messages.
pub(super) fn description(component: Component) -> &'static str {
    match component {
        Component::Dnabert => "a DNABERT-2 or DNABERT-S weights file",
        Component::Esm => "an ESM-2 weights file",
        Component::Head => "a VirNucPro classifier",
    }
}

/// What a file is that has tensors of these names, going by most of them.
pub(super) fn recognise<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let total = names.clone().count();
    if total > 0 && names.clone().all(|name| name.contains("contact_head.regression.")) {
        return Some("the contact regression of an ESM model, which is published beside the model itself");
    }
    let kept =
        |component| names.clone().filter(|name| matches!(mapping(component, name), Some(Mapping::Kept(_)))).count();
    let best = Component::ALL.into_iter().map(|component| (kept(component), component));
    let (count, component) = best.max_by_key(|(count, _)| *count)?;
    (2 * count > total).then(|| description(component))
}

fn dnabert(name: &str) -> Option<Mapping> {
    static SCHEMA: LazyLock<Schema> =
        LazyLock::new(|| dnabert::Config { num_hidden_layers: 1, ..Default::default() }.tensors());
    let unneeded = || name == "embeddings.position_ids" || starts_with_one_of(name, &["pooler.", "cls."]);
    kept(&SCHEMA, name.to_owned()).or_else(|| unneeded().then_some(Mapping::Unneeded))
}

fn esm(name: &str) -> Option<Mapping> {
    static SCHEMA: LazyLock<Schema> =
        LazyLock::new(|| esm2::Config { num_hidden_layers: 1, ..Default::default() }.tensors());
    let unneeded = || {
        // With rotary positions, the learned ones that Hugging Face allocates are never looked at.
        matches!(name, "embeddings.position_ids" | "embeddings.position_embeddings.weight")
            || starts_with_one_of(name, &["lm_head.", "contact_head.", "pooler."])
    };
    let own = from_fair_esm(name).unwrap_or_else(|| name.to_owned());
    kept(&SCHEMA, own).or_else(|| unneeded().then_some(Mapping::Unneeded))
}

fn head(name: &str) -> Option<Mapping> {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| head::Config::Published { hidden: 1, inputs: 1 }.tensors());
    kept(&SCHEMA, name.to_owned()).or_else(|| (name == "bn1.num_batches_tracked").then_some(Mapping::Unneeded))
}

fn kept(schema: &Schema, name: String) -> Option<Mapping> {
    schema.knows(&name).then_some(Mapping::Kept(name))
}

/// The bundle's name for one of fair-esm's.
fn from_fair_esm(name: &str) -> Option<String> {
    const LAYER: [(&str, &str); 9] = [
        ("self_attn_layer_norm", "attention.LayerNorm"),
        ("self_attn.rot_emb", "attention.self.rotary_embeddings"),
        ("self_attn.q_proj", "attention.self.query"),
        ("self_attn.k_proj", "attention.self.key"),
        ("self_attn.v_proj", "attention.self.value"),
        ("self_attn.out_proj", "attention.output.dense"),
        ("final_layer_norm", "LayerNorm"),
        ("fc1", "intermediate.dense"),
        ("fc2", "output.dense"),
    ];
    let (module, kind) = name.rsplit_once('.')?;
    let own = match module {
        "embed_tokens" => "embeddings.word_embeddings".to_owned(),
        "emb_layer_norm_after" => "encoder.emb_layer_norm_after".to_owned(),
        _ => {
            let (layer, module) = numbered(module, "layers.")?;
            let (_, own) = LAYER.into_iter().find(|(fair, _)| *fair == module)?;
            format!("encoder.layer.{layer}.{own}")
        }
    };
    Some(format!("{own}.{kind}"))
}

fn starts_with_one_of(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Component::{Dnabert, Esm, Head};

    fn keep(name: &str) -> Option<Mapping> {
        Some(Mapping::Kept(name.to_owned()))
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
            assert_eq!(mapping(Esm, name), keep(query), "{name}");
        }
        assert_eq!(mapping(Dnabert, "bert.encoder.layer.0.mlp.wo.bias"), keep("encoder.layer.0.mlp.wo.bias"));
    }

    #[test]
    fn every_tensor_of_a_model_is_kept_under_its_own_name_and_no_other_component_knows_it() {
        let names = [
            (Dnabert, "encoder.layer.3.attention.self.Wqkv.bias"),
            (Esm, "encoder.layer.3.attention.self.rotary_embeddings.inv_freq"),
            (Head, "bn1.running_var"),
        ];
        for (owner, name) in names {
            for component in Component::ALL {
                let expected = if component == owner { keep(name) } else { None };
                assert_eq!(mapping(component, name), expected, "{name} of {component:?}");
            }
        }
    }

    #[test]
    fn a_model_is_recognised_by_most_of_its_names() {
        let kind = |names: &[&'static str]| recognise(names.iter().copied());
        let esm = ["layers.0.fc1.weight", "esm.encoder.layer.0.output.dense.bias", "lm_head.bias"];
        assert_eq!(kind(&esm), Some(description(Esm)));
        assert_eq!(kind(&["bert.encoder.layer.0.attention.self.Wqkv.weight"]), Some(description(Dnabert)));
        assert_eq!(kind(&["hidden_layer.weight", "bn1.bias", "x"]), Some(description(Head)));
        assert!(kind(&["contact_head.regression.weight"]).is_some_and(|kind| kind.contains("contact regression")));
        assert_eq!((kind(&["x", "y"]), kind(&[])), (None, None));
    }

    #[test]
    fn the_two_layer_norms_of_esm_are_told_apart() {
        let norm = |name: &str| mapping(Esm, &format!("layers.0.{name}.bias"));
        assert_eq!(norm("self_attn_layer_norm"), keep("encoder.layer.0.attention.LayerNorm.bias"));
        assert_eq!(norm("final_layer_norm"), keep("encoder.layer.0.LayerNorm.bias"));
    }

    #[test]
    fn what_vectors_do_not_need_is_left_out_and_the_unknown_is_not() {
        for name in [
            "lm_head.weight",
            "encoder.lm_head.bias",
            "esm.contact_head.regression.weight",
            "esm.embeddings.position_ids",
        ] {
            assert_eq!(mapping(Esm, name), Some(Mapping::Unneeded), "{name}");
        }
        for name in ["cls.predictions.decoder.bias", "bert.pooler.dense.weight"] {
            assert_eq!(mapping(Dnabert, name), Some(Mapping::Unneeded), "{name}");
        }
        assert_eq!(mapping(Head, "bn1.num_batches_tracked"), Some(Mapping::Unneeded));
        for name in [
            "layers.0.weight",
            "layers.0..weight",
            "layers.0.fc3.weight",
            "layers.00.fc1.weight",
            "layers.-1.fc1.weight",
            "layers.0.fc1.scale",
            "layers.0.fc1.inv_freq",
            "layers.0.self_attn.rot_emb.weight",
            "encoder.layer.0.fc1.weight",
            "embed_positions.weight",
            "embed_tokens.bias",
        ] {
            assert_eq!(mapping(Esm, name), None, "{name}");
        }
        assert_eq!(mapping(Dnabert, "encoder.layer.0.attention.self.query.weight"), None);
        assert_eq!(mapping(Head, "hidden_layer"), None);
    }
}
