//! Threads that tokenise. They start once, and share out each block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::block::{Failure, Sequence};
use crate::error::Result;
use crate::runtime::threads;
use crate::store::ProteinDigest;
use crate::tokenize::Tokenize;

/// A sequence whose letters have become tokens.
pub struct Tokenised {
    /// Identifier.
    pub id: String,
    /// The protein it belongs to.
    pub protein: Option<ProteinDigest>,
    /// Its vector, where an earlier run has computed it.
    pub known: Option<Vec<f32>>,
    /// Token ids.
    pub tokens: Vec<u32>,
}

/// A part of a block, and where its tokens go.
struct Task {
    part: usize,
    sequences: Vec<Sequence>,
    reply: Sender<(usize, Result<Vec<Tokenised>>)>,
}

/// The threads; a single one is the caller's own.
pub struct TokenWorkers<'a> {
    tokenizer: &'a dyn Tokenize,
    tasks: Option<Sender<Task>>,
    workers: usize,
}

impl<'a> TokenWorkers<'a> {
    /// Starts them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>, tokenizer: &'a dyn Tokenize, workers: usize) -> Result<Self>
    where
        'a: 'scope,
    {
        if workers <= 1 {
            return Ok(Self { tokenizer, tasks: None, workers: 1 });
        }
        let (tasks, queue) = unbounded::<Task>();
        for _ in 0..workers {
            let queue: Receiver<Task> = queue.clone();
            let work = move || {
                for Task { part, sequences, reply } in queue {
                    let tokens = catch_unwind(AssertUnwindSafe(|| encode(tokenizer, sequences)));
                    let _ = reply.send((part, tokens.unwrap_or_else(|_| Err(Failure::panic().error))));
                }
            };
            threads::spawn_scoped(scope, "tokens", work)?;
        }
        Ok(Self { tokenizer, tasks: Some(tasks), workers })
    }

    /// The tokens of every sequence, in order.
    ///
    /// # Errors
    /// What the tokeniser reports of the first sequence that it cannot read.
    pub fn tokenise(&self, sequences: Vec<Sequence>) -> Result<Vec<Tokenised>> {
        let Some(tasks) = &self.tasks else { return encode(self.tokenizer, sequences) };
        let size = sequences.len().div_ceil(self.workers).max(1);
        let (reply, replies) = bounded(self.workers);
        let (mut sequences, mut parts) = (sequences.into_iter(), Vec::new());
        while sequences.len() > 0 {
            let task =
                Task { part: parts.len(), sequences: sequences.by_ref().take(size).collect(), reply: reply.clone() };
            tasks.send(task).map_err(|_| Failure::panic().error)?;
            parts.push(None);
        }
        drop(reply);
        replies.iter().for_each(|(part, tokens)| parts[part] = Some(tokens));
        let mut all = Vec::new();
        for part in parts {
            all.extend(part.unwrap_or_else(|| Err(Failure::panic().error))?);
        }
        Ok(all)
    }
}

fn encode(tokenizer: &dyn Tokenize, sequences: Vec<Sequence>) -> Result<Vec<Tokenised>> {
    let encode = |Sequence { id, letters, protein, known }| match tokenizer.encode(&letters) {
        Ok(tokens) => Ok(Tokenised { id, protein, known, tokens }),
        Err(error) => Err(error.record(id)),
    };
    sequences.into_iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Fault};
    use crate::tokenize::EsmTokenizer;
    use std::thread;

    fn sequences(count: usize) -> Vec<Sequence> {
        let letters = |i: usize| b"MKVLAA".iter().copied().cycle().take(1 + i % 9).collect();
        (0..count).map(|i| Sequence { id: i.to_string(), letters: letters(i), protein: None, known: None }).collect()
    }

    #[test]
    fn any_number_of_workers_gives_the_tokens_in_order() {
        for (workers, count) in [(1, 50), (2, 50), (8, 50), (8, 3), (3, 0)] {
            let tokens = thread::scope(|scope| {
                TokenWorkers::start(scope, &EsmTokenizer, workers).unwrap().tokenise(sequences(count)).unwrap()
            });
            assert_eq!(tokens.len(), count);
            for (found, given) in tokens.iter().zip(sequences(count)) {
                assert_eq!((&found.id, &found.tokens), (&given.id, &EsmTokenizer.encode(&given.letters).unwrap()));
            }
        }
    }

    struct Faulty;

    impl Tokenize for Faulty {
        fn encode(&self, sequence: &[u8]) -> Result<Vec<u32>> {
            if sequence.len() > 5 { Err(Error::new(Fault::ModelTokenizer, "planted")) } else { Ok(vec![1]) }
        }

        fn vocabulary(&self) -> usize {
            2
        }
    }

    #[test]
    fn the_first_sequence_that_cannot_be_read_is_named() {
        for workers in [1, 4] {
            let failed = thread::scope(|scope| {
                TokenWorkers::start(scope, &Faulty, workers).unwrap().tokenise(sequences(50)).map(drop)
            });
            assert!(failed.unwrap_err().report("v").contains("record:   5"));
        }
    }
}
