//! What can be fetched, by what a user calls it.

use std::collections::BTreeMap;

use super::file::RemoteFile;
use super::http::error::GivenBy;
use super::http::url::Url;
use super::model::HubModel;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::weights::catalogue::catalogue;
use crate::weights::hub_cache::{Checksum, Revision};

/// A model or file that can be fetched.
#[derive(Clone, Debug)]
pub enum Fetchable {
    /// A model of the hub.
    Model(HubModel),
    /// A single file.
    File(RemoteFile),
}

impl Fetchable {
    /// What a name means: one of the catalogue, or `organisation/name` of the hub. `@REVISION` may follow; if it does not,
    /// `revision` applies. None for text that is not such a name.
    ///
    /// # Errors
    /// [`Fault::Usage`] for two revisions, or one of a single file.
    pub fn named(text: &str, revision: Option<&Revision>) -> Result<Option<Self>> {
        let (name, own) = match text.split_once('@').map(|(name, revision)| (name, revision.parse::<Revision>())) {
            None => (text, None),
            Some((name, Ok(own))) => (name, Some(own)),
            Some((_, Err(_))) => return Ok(None),
        };
        if own.is_some() && revision.is_some() {
            return Err(Error::new(Fault::Usage, format!("{text} has two revisions"))
                .found("--revision, and another one after the @")
                .advice("leave out one of them"));
        }
        let revision = own.or_else(|| revision.cloned());
        let catalogue = catalogue()?;
        if let Some(head) = catalogue.head(name) {
            if revision.is_some() {
                return Err(Error::new(Fault::Usage, format!("{name} is a single file and has no revisions"))
                    .found("a revision")
                    .advice("leave out --revision and @"));
            }
            return Ok(Some(Self::File(RemoteFile {
                name: name.to_owned(),
                url: head.url.parse().map_err(|found: String| {
                    Error::new(Fault::Bug, format!("the catalogue has a wrong address for {name}")).found(found)
                })?,
                sum: Some(Checksum::Git(head.git.clone())),
                licence: head.licence.clone(),
                folder: name.to_owned(),
                given_by: GivenBy::Catalogue,
            })));
        }
        let full_name = revision.as_ref().map_or_else(|| name.to_owned(), |revision| format!("{name}@{revision}"));
        let model = match catalogue.encoder(name) {
            Some(encoder) => HubModel {
                name: full_name,
                repo: encoder.repo.clone(),
                licence: encoder.licence.clone(),
                tokenizer: encoder.tokenizer,
                // The catalogue knows nothing of other revisions.
                digests: if revision.is_some() { BTreeMap::new() } else { encoder.digests.clone() },
                revision,
            },
            None => {
                let Ok(repo) = name.parse() else { return Ok(None) };
                let licence = "see its page on the hub".to_owned();
                HubModel { name: full_name, repo, revision, licence, tokenizer: false, digests: BTreeMap::new() }
            }
        };
        Ok(Some(Self::Model(model)))
    }

    /// A file of the user's own, with its digest if that is known.
    pub fn at(url: Url, digest: Option<Digest>) -> Self {
        Self::File(RemoteFile::of_user(url, digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> HubModel {
        match Fetchable::named(name, None).unwrap() {
            Some(Fetchable::Model(model)) => model,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_name_may_carry_its_revision() {
        let at = |name: &str| model(name).revision.map(|revision| revision.to_string());
        assert_eq!((at("org/x"), at("org/x@refs/pr/1").as_deref()), (None, Some("refs/pr/1")));
        assert_eq!(model("esm2-8m@v1").name, "esm2-8m@v1");
        for text in ["org/x@", "org/x@../y", "org/x@a@b", "esm3", "../x", ""] {
            assert!(Fetchable::named(text, None).unwrap().is_none(), "{text}");
        }
        for (text, revision) in [("org/x@a", Some("b")), ("virnucpro-500@main", None), ("virnucpro-500", Some("main"))]
        {
            let revision = revision.map(|revision| revision.parse().unwrap());
            assert_eq!(Fetchable::named(text, revision.as_ref()).unwrap_err().fault(), Fault::Usage, "{text}");
        }
    }

    #[test]
    fn everything_in_the_catalogue_can_be_fetched_as_it_is_published() {
        let catalogue = catalogue().unwrap();
        for encoder in &catalogue.encoders {
            let model = model(&encoder.name);
            assert_eq!(
                (&model.repo, model.tokenizer, &model.digests),
                (&encoder.repo, encoder.tokenizer, &encoder.digests)
            );
            assert!(model.revision().as_str() == "main");
        }
        for head in &catalogue.heads {
            let Some(Fetchable::File(file)) = Fetchable::named(&head.name, None).unwrap() else {
                panic!("{}", head.name)
            };
            assert_eq!((file.url.for_request(), file.sum), (head.url.clone(), Some(Checksum::Git(head.git.clone()))));
        }
    }

    #[test]
    fn what_is_known_of_a_model_holds_for_its_main_revision_only() {
        assert_eq!(model("dnabert-2").digests.len(), 1);
        assert!(model("dnabert-2@v1").digests.is_empty());
        assert!(model("zhihan1996/DNABERT-2-117M").digests.is_empty());
    }
}
