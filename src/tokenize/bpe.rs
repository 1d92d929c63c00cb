//! The byte-pair encoding of DNABERT-2 and DNABERT-S, read from a `tokenizer.json`.
//!
//! The published file may carry truncation and padding (a copy in circulation has both at 2000 tokens). The
//! Python library ignores them and the `tokenizers` crate obeys them, so they are switched off after loading.

use std::path::Path;

use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::utils::parallelism::set_parallelism;

use super::Tokenize;
use crate::error::{Error, Fault, Result};

/// Special tokens and the ids the encoder was trained with.
const SPECIALS: [(&str, u32); 5] = [("[UNK]", 0), ("[CLS]", 1), ("[SEP]", 2), ("[PAD]", 3), ("[MASK]", 4)];

/// Nucleotides to BPE ids, `[CLS]` before and `[SEP]` behind. Case matters: anything but ACGT is `[UNK]`.
pub struct DnabertTokenizer {
    bpe: Tokenizer,
    vocabulary: usize,
}

impl DnabertTokenizer {
    /// A tokeniser of our own making: 4096 entries, same special tokens and template as the published one.
    pub const OWN: &[u8] = include_bytes!("../../bundles/untrained/dnabert/tokenizer.json");

    /// Reads the bytes of a `tokenizer.json`; `file` is named in errors only.
    ///
    /// # Errors
    /// [`Fault::ModelTokenizer`]: no such file, other special tokens, or an encoding that is not reproducible.
    pub fn from_bytes(json: &[u8], file: &Path) -> Result<Self> {
        // One setting for the process, whatever TOKENIZERS_PARALLELISM says: the callers have threads of their own.
        set_parallelism(false);
        let refused = |message: &str| {
            Error::new(Fault::ModelTokenizer, message)
                .file(file)
                .advice("use the tokenizer.json that was published with this DNABERT-S model")
        };
        let mut bpe =
            Tokenizer::from_bytes(json).map_err(|error| refused("this is not a tokenizer.json").caused_by(error))?;
        switch_off_truncation_and_padding(&mut bpe).map_err(|error| refused("cannot be used").caused_by(error))?;
        check_model(bpe.get_model()).map_err(|(expected, found)| {
            refused("not the tokeniser of a DNABERT-2 style model").expected(expected).found(found)
        })?;
        check_specials(&bpe).map_err(|(expected, found)| {
            refused("the special tokens are not those of DNABERT-2").expected(expected).found(found)
        })?;
        let vocabulary = bpe.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        Ok(Self { bpe, vocabulary })
    }
}

impl Tokenize for DnabertTokenizer {
    fn encode(&self, sequence: &[u8]) -> Result<Vec<u32>> {
        let text = std::str::from_utf8(sequence).map_err(|error| {
            Error::new(Fault::InputCharacter, "the sequence is not text").expected("nucleotide codes").caused_by(error)
        })?;
        encode(&self.bpe, text)
            .map_err(|error| Error::new(Fault::ModelTokenizer, "the tokeniser failed").caused_by(error))
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

/// What was expected, what was found.
type Mismatch = (String, String);

fn switch_off_truncation_and_padding(bpe: &mut Tokenizer) -> tokenizers::Result<()> {
    bpe.with_truncation(None)?;
    bpe.with_padding(None);
    Ok(())
}

fn encode(bpe: &Tokenizer, text: &str) -> tokenizers::Result<Vec<u32>> {
    Ok(bpe.encode_fast(text, true)?.get_ids().to_vec())
}

fn check_model(model: &ModelWrapper) -> Result<(), Mismatch> {
    let ModelWrapper::BPE(model) = model else {
        return Err(("a byte-pair encoding".to_owned(), "another kind of model".to_owned()));
    };
    // Without it, unknown characters vanish; with dropout, a sequence has other tokens at every call.
    if model.get_unk_token().as_deref() != Some("[UNK]") {
        return Err(("unk_token [UNK]".to_owned(), format!("{:?}", model.get_unk_token())));
    }
    match model.dropout {
        Some(dropout) if dropout != 0.0 => Err(("no dropout".to_owned(), format!("dropout {dropout}"))),
        _ => Ok(()),
    }
}

fn check_specials(bpe: &Tokenizer) -> Result<(), Mismatch> {
    for (token, id) in SPECIALS {
        let found = bpe.token_to_id(token);
        if found != Some(id) {
            let found = found.map_or_else(|| "no such token".to_owned(), |found| format!("id {found}"));
            return Err((format!("{token} with id {id}"), found));
        }
    }
    match encode(bpe, "") {
        Ok(ids) if ids == [1, 2] => Ok(()),
        Ok(ids) => Err(("[CLS] and [SEP] around a sequence: [1, 2] for an empty one".to_owned(), format!("{ids:?}"))),
        Err(error) => Err(("[CLS] and [SEP] around a sequence".to_owned(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn load(json: &[u8]) -> Result<DnabertTokenizer> {
        DnabertTokenizer::from_bytes(json, Path::new("tokenizer.json"))
    }

    fn own(change: impl FnOnce(&mut Value)) -> Result<DnabertTokenizer> {
        let mut json: Value = serde_json::from_slice(DnabertTokenizer::OWN).unwrap();
        change(&mut json);
        load(json.to_string().as_bytes())
    }

    fn ids(tokenizer: &DnabertTokenizer, sequence: &str) -> Vec<u32> {
        tokenizer.encode(sequence.as_bytes()).unwrap()
    }

    /// Ids computed with the Python package tokenizers 0.23.2 from the same file.
    #[test]
    fn ids_are_those_of_the_python_library() {
        let tokenizer = load(DnabertTokenizer::OWN).unwrap();
        let random = "GCTAAAGACAATTACATAACATACACGTCAGCACGAAACTTGTTGGCCCAGTGTGAATC\
                      GCTTAAGGGTTAAGTAAGTGTGATGCATACGCCTTTACTTGCTGTGTCCACCCCATCGGAC";
        let cases: [(&str, &[u32]); 11] = [
            ("", &[1, 2]),
            ("A", &[1, 5, 2]),
            ("ACGT", &[1, 5, 623, 2]),
            ("GATTACAGATTACA", &[1, 363, 136, 242, 2]),
            ("ATGNNNRCCtaa", &[1, 5, 17, 0, 0, 0, 0, 16, 0, 0, 0, 2]),
            ("AC-GT*A.C", &[1, 5, 6, 0, 176, 0, 5, 0, 6, 2]),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[1, 951, 951, 951, 951, 951, 2]),
            ("[CLS]ACGT[MASK]", &[1, 1, 5, 623, 4, 2]),
            (" ACG TTT ", &[1, 5, 53, 10, 8, 2]),
            ("ACGU", &[1, 5, 53, 0, 2]),
            (
                random,
                &[
                    1, 11, 42, 279, 242, 246, 88, 251, 28, 195, 795, 867, 104, 923, 772, 2450, 74, 1180, 51, 878, 241,
                    282, 339, 880, 281, 3477, 2,
                ],
            ),
        ];
        for (sequence, expected) in cases {
            assert_eq!(ids(&tokenizer, sequence), expected, "{sequence}");
        }
        assert_eq!(tokenizer.vocabulary(), 4096);
    }

    #[test]
    fn every_letter_that_is_not_a_base_is_one_unknown_token() {
        let tokenizer = load(DnabertTokenizer::OWN).unwrap();
        let masked = ids(&tokenizer, "ATGNNNRCC");
        assert_eq!(masked, [1, 5, 17, 0, 0, 0, 0, 16, 2]);
        for other in ["ATGXXXXCC", "ATGUUUUCC"] {
            assert_eq!(ids(&tokenizer, other), masked, "{other}");
        }
    }

    #[test]
    fn planted_padding_and_truncation_are_not_obeyed() {
        let sequence = "ACGTTGCA".repeat(80);
        let expected = ids(&load(DnabertTokenizer::OWN).unwrap(), &sequence);
        for max_length in [0, 8] {
            let planted = own(|json| {
                json["truncation"] =
                    json!({"direction": "Right", "max_length": max_length, "strategy": "LongestFirst", "stride": 0});
                json["padding"] = json!({"strategy": {"Fixed": 2000}, "direction": "Right",
                    "pad_to_multiple_of": null, "pad_id": 3, "pad_type_id": 0, "pad_token": "[PAD]"});
            })
            .unwrap();
            assert_eq!(ids(&planted, &sequence), expected);
            assert_eq!(ids(&planted, ""), [1, 2]);
        }
    }

    #[test]
    fn a_tokeniser_of_another_model_is_refused() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 7] = [
            ("other id of [PAD]", |json| {
                json["model"]["vocab"]["[PAD]"] = json!(4);
                json["model"]["vocab"]["[MASK]"] = json!(3);
                json["added_tokens"][3]["id"] = json!(4);
                json["added_tokens"][4]["id"] = json!(3);
            }),
            ("no template", |json| json["post_processor"] = Value::Null),
            ("template without [SEP]", |json| {
                json["post_processor"]["single"].as_array_mut().unwrap().pop();
            }),
            ("no unknown token", |json| json["model"]["unk_token"] = Value::Null),
            ("dropout", |json| json["model"]["dropout"] = json!(0.1)),
            ("word level", |json| {
                json["model"] = json!({"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"});
            }),
            ("no model", |json| json["model"] = Value::Null),
        ];
        for (name, change) in changes {
            let error = own(change).err().unwrap_or_else(|| panic!("{name} is accepted"));
            assert_eq!(error.fault(), Fault::ModelTokenizer, "{name}");
            assert_eq!(error.path(), Some(Path::new("tokenizer.json")), "{name}");
        }
        assert!(own(|_| ()).is_ok());
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_is_cut() {
        for length in (0..DnabertTokenizer::OWN.len()).step_by(4096) {
            assert_eq!(
                load(&DnabertTokenizer::OWN[..length]).err().map(|error| error.fault()),
                Some(Fault::ModelTokenizer),
                "{length}"
            );
        }
    }

    #[test]
    fn bytes_of_no_text_are_refused() {
        let error = load(DnabertTokenizer::OWN).unwrap().encode(b"AC\xffGT").unwrap_err();
        assert_eq!(error.fault(), Fault::InputCharacter);
    }
}
