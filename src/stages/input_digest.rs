//! What tells one input of `chunk` from another.

use serde_json::json;

use super::chunk::{Layout, fingerprint};
use crate::config::{self, Input};
use crate::error::Result;
use crate::fs::FileDigest;
use crate::seq::Summary;
use crate::store::{MadeFrom, Origin};

/// Two digests of what was read, in order: of the sequences alone, and with the names that stand in `inputs.tsv` and what
/// is made of them, for more files of the same windows cost another reading, not other vectors.
pub struct InputDigest {
    content: blake3::Hasher,
    named: blake3::Hasher,
    /// Whether it makes a difference how U is read.
    pub has_uracil: bool,
}

/// What [`Origin`] says of inputs whose bytes have these digests, in order.
pub fn content_digest<'a>(digests: impl IntoIterator<Item = &'a str>) -> String {
    let mut content = blake3::Hasher::new();
    for digest in digests {
        content.update(format!("{digest}\n").as_bytes());
    }
    content.finalize().to_hex().to_string()
}

impl InputDigest {
    /// Of nothing yet.
    pub fn new(settings: &config::Chunk, layout: Layout) -> Self {
        let mut named = blake3::Hasher::new();
        named.update(if settings.legacy { b"legacy\n" } else { b"" });
        named.update(layout.sides.name().as_bytes());
        named.update(format!("{}\n", settings.tables).as_bytes());
        // What was accepted without a check or with a permission is read again where it is asked for differently.
        named.update(if settings.policy.strict { b"strict\n" } else { b"" });
        named.update(if settings.allow_empty { b"allow empty\n" } else { b"" });
        Self { content: blake3::Hasher::new(), named, has_uracil: true }
    }

    /// Adds an input that was read; `summary` is that of one with sequences.
    ///
    /// # Errors
    /// The input cannot be read again.
    pub fn add(&mut self, input: &Input, summary: &Option<Summary>) -> Result<()> {
        let digest = match summary {
            Some(summary) => summary.digest.to_hex().to_string(),
            // Without sequences, and yet with bytes that tell it from another such file.
            None if input.path.is_file() => FileDigest::of(&input.path)?.blake3,
            None => blake3::hash(b"").to_hex().to_string(),
        };
        self.add_text(input, &digest);
        Ok(())
    }

    /// Adds an input of which nothing but the digest is known.
    pub fn add_text(&mut self, input: &Input, digest: &str) {
        self.content.update(format!("{digest}\n").as_bytes());
        self.named.update(format!("{}\t{}\t{digest}\n", input.sample, input.path.display()).as_bytes());
    }

    /// What the files are made from, and the origin of all work. `recorded` is that of an earlier run, which knows more of
    /// the same bytes than their digest.
    pub fn finish(self, settings: &config::Chunk, layout: Layout, recorded: Option<&Origin>) -> (MadeFrom, Origin) {
        let names: Vec<String> = settings.inputs.iter().map(|input| input.path.display().to_string()).collect();
        let mut cut = fingerprint(settings, layout).settings;
        if let Some(cut) = cut.as_object_mut() {
            cut.remove("shard_frames"); // other shards hold the same frames
        }
        let digest = |hasher: blake3::Hasher| hasher.finalize().to_hex().to_string();
        let (made_from, blake3) = (MadeFrom::files(digest(self.named), &names), digest(self.content));
        let known_without = recorded.is_some_and(|known| known.blake3 == blake3 && known.cut["uracil"].is_null());
        cut["uracil"] = match self.has_uracil && !known_without {
            true => json!(settings.policy.uracil),
            false => json!(null),
        };
        (made_from.clone(), Origin { input: made_from.from, blake3, cut })
    }
}
