//! Merged vectors to scores of frames, block by block.

use std::collections::VecDeque;
use std::slice;

use super::merge::model_of;
use super::upstream::UpstreamFile;
use crate::bundle::Bundle;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::model::{Head, Score};
use crate::runtime::interrupt;
use crate::runtime::progress::TaskProgress;
use crate::store::{ModelStamp, VectorBlock, VectorBlocks, VectorReader};

/// Rows scored at a time.
const BLOCK_ROWS: usize = 1024;

/// Refuses vectors of another stage, bundle or width, and vectors that were computed in several ways.
///
/// # Errors
/// Those, and damaged files.
pub fn check_vectors(merged: &[UpstreamFile], bundle: &Bundle, model: &ModelStamp) -> Result<()> {
    let width = bundle.spec().head.dim as usize;
    let mut computed: Option<String> = None;
    for file in merged {
        let reader = VectorReader::open(&file.path)?;
        let metadata = reader.metadata();
        if let Some(stage) = metadata.get("stage").filter(|stage| *stage != "merge") {
            return Err(Error::new(Fault::InputStage, "these vectors come from the wrong stage")
                .file(&file.path)
                .expected("vectors that `virnucpro merge` wrote")
                .found(format!("vectors that `virnucpro {stage}` wrote"))
                .advice("join both sides with `virnucpro merge` first"));
        }
        if reader.dim() != width {
            return Err(Error::new(Fault::ModelMismatch, "the vectors do not fit the head")
                .file(&file.path)
                .expected(format!("vectors of width {width}, for {}", model.cell()))
                .found(format!("width {}", reader.dim()))
                .advice("give the bundle that the vectors were made with"));
        }
        if let Some(made_with) = model_of(&metadata).filter(|found| found != model) {
            return Err(Error::new(Fault::ModelMismatch, "the vectors were made with another bundle")
                .file(&file.path)
                .expected(model.cell())
                .found(made_with.cell())
                .advice("use --model with that bundle, or embed again with this one"));
        }
        let formats = ["dnabert.dtype", "esm.dtype"].map(|key| metadata.get(key).map_or("unknown", String::as_str));
        let how = format!("DNABERT-S in {}, ESM-2 in {}", formats[0], formats[1]);
        if let Some(other) = computed.replace(how.clone()).filter(|other| *other != how) {
            return Err(Error::new(Fault::CheckpointForeign, "the vectors were computed in different number formats")
                .file(&file.path)
                .expected(other)
                .found(how)
                .advice("embed all shards in one number format: give --dtype f32, bf16 or f16"));
        }
    }
    Ok(())
}

/// Scores of all frames, in the order of the merged files, each of which is read once.
pub struct FrameScores<'a> {
    files: slice::Iter<'a, UpstreamFile>,
    open: Option<(&'a UpstreamFile, VectorBlocks)>,
    head: Box<dyn Head>,
    ready: VecDeque<(String, Score)>,
    /// Digests of the files that were read to their end.
    digests: Vec<FileDigest>,
    task: &'a TaskProgress,
}

impl<'a> FrameScores<'a> {
    /// Of `merged`, in that order; nothing is read yet.
    pub fn new(merged: &'a [UpstreamFile], head: Box<dyn Head>, task: &'a TaskProgress) -> Self {
        Self { files: merged.iter(), open: None, head, ready: VecDeque::new(), digests: Vec::new(), task }
    }

    /// Digests of the files, all of which were read to their end.
    pub fn digests(&self) -> &[FileDigest] {
        &self.digests
    }

    fn next(&mut self) -> Result<Option<(String, Score)>> {
        while self.ready.is_empty() {
            interrupt::check()?;
            if let Some((file, mut blocks)) = self.open.take() {
                match blocks.next() {
                    Some(block) => {
                        self.score(block).map_err(|error| file.explain(error))?;
                        self.open = Some((file, blocks));
                    }
                    None => {
                        let digest = blocks.finish()?;
                        file.prove(&digest)?;
                        self.digests.push(digest);
                    }
                }
                continue;
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            let reader = VectorReader::open(&file.path).map_err(|error| file.explain(error))?;
            self.open = Some((file, reader.into_blocks(BLOCK_ROWS)));
        }
        Ok(self.ready.pop_front())
    }

    fn score(&mut self, block: Result<VectorBlock>) -> Result<()> {
        let block = block?;
        let scores = self.head.score(&block.values)?;
        if scores.len() != block.ids.len() {
            return Err(Error::new(Fault::Count, "the numbers of vectors in and scores out differ"));
        }
        for (id, score) in block.ids.into_iter().zip(scores) {
            if !(score.others.is_finite() && score.virus.is_finite()) {
                return Err(Error::new(Fault::NonFinite, "the head produced a NaN or infinite score").record(id));
            }
            self.ready.push_back((id, score));
        }
        self.task.add(self.ready.len() as u64);
        Ok(())
    }

    /// The score of the frame that must come now.
    ///
    /// # Errors
    /// [`Fault::MergeIds`] where another one comes; a file is damaged.
    pub fn expect(&mut self, id: &str) -> Result<Score> {
        let mismatch = |found: String| {
            Error::new(Fault::MergeIds, "the merged vectors do not match the windows")
                .expected(id.to_owned())
                .found(found)
                .advice("give all merged shards of these windows, and the folder of windows they come from")
        };
        match self.next()? {
            Some((found, score)) if found == id => Ok(score),
            Some((found, _)) => match &self.open {
                Some((file, _)) => Err(file.explain(mismatch(found))),
                None => Err(mismatch(found)),
            },
            None => Err(mismatch("no more vectors".to_owned())),
        }
    }

    /// Proves that there are no more scores.
    ///
    /// # Errors
    /// [`Fault::MergeIds`] where there are; a file is damaged.
    pub fn expect_end(&mut self) -> Result<()> {
        match self.next()? {
            None => Ok(()),
            Some((found, _)) => Err(Error::new(Fault::MergeIds, "there are vectors of frames that are in no window")
                .record(found)
                .advice("give the folder of windows that the vectors were made from")),
        }
    }
}
