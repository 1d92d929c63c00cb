//! Batches on their way from the planner to the lanes.
//!
//! Bounded, so that the planner waits for the lanes. A lane may give a batch back - its device has died - and another one
//! takes it: so no lane leaves while a batch is with any lane. The first failure stops everybody.
//!
//! Where fewer batches wait than there are lanes, as at the end of the input, a lane takes its share of one and leaves the
//! rest: no lane is idle while another one computes a whole batch. That is done only where vectors do not depend on their
//! batch, since who takes what is chance.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::block::{Failure, Job};

/// Tokens below which a batch is not shared: products of fewer rows take more time per row.
const LEAST_SHARE: usize = 256;

/// The queue of a session.
pub struct Queue {
    state: Mutex<State>,
    /// A batch has come, or none will.
    ready: Condvar,
    /// There is room for a batch, or the session has stopped.
    room: Condvar,
    capacity: usize,
    /// Whether a batch may be cut.
    shares: bool,
    /// Ends when the session stops.
    stopped: Receiver<Infallible>,
}

struct State {
    waiting: VecDeque<Job>,
    /// Sequences that lanes have taken and not answered for.
    with_lanes: usize,
    /// Lanes that work.
    lanes: usize,
    /// Whether the planner has put its last batch.
    ended: bool,
    stopped: bool,
    failure: Option<Failure>,
    /// Dropped when the session stops, which those see who listen.
    alarm: Option<Sender<Infallible>>,
}

impl Queue {
    /// A queue of at most `capacity` batches for so many lanes; `exact`: whether vectors do not depend on their batch.
    pub fn new(capacity: usize, lanes: usize, exact: bool) -> Self {
        let (alarm, stopped) = bounded(0);
        let state = State {
            waiting: VecDeque::new(),
            with_lanes: 0,
            lanes,
            ended: false,
            stopped: false,
            failure: None,
            alarm: Some(alarm),
        };
        let state = Mutex::new(state);
        let capacity = capacity.max(1);
        Self { state, ready: Condvar::new(), room: Condvar::new(), capacity, shares: exact && lanes > 1, stopped }
    }

    /// Appends a batch, once there is room. False: the session has stopped.
    pub fn put(&self, job: Job) -> bool {
        let full = |state: &mut State| !state.stopped && state.waiting.len() >= self.capacity;
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if !state.stopped {
            state.waiting.push_back(job);
            self.ready.notify_one();
        }
        !state.stopped
    }

    /// Says that no batch will be put any more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.ready.notify_all();
    }

    /// The next batch, once there is one. None: all batches are done, or the session has stopped.
    pub fn take(&self) -> Option<Job> {
        let none_yet = |state: &mut State| {
            let finished = state.ended && state.with_lanes == 0;
            state.waiting.is_empty() && !finished && !state.stopped
        };
        let state = self.ready.wait_while(self.lock(), none_yet).unwrap_or_else(PoisonError::into_inner);
        self.taken(state)
    }

    /// The next batch, if there is one now.
    pub fn try_take(&self) -> Option<Job> {
        self.taken(self.lock())
    }

    fn taken(&self, mut state: MutexGuard<'_, State>) -> Option<Job> {
        if state.stopped {
            return None;
        }
        let mut job = state.waiting.pop_front()?;
        match self.share(&state, &job).and_then(|tokens| job.batch.cut(tokens)) {
            Some((share, rest)) => {
                state.waiting.push_front(Job { block: Arc::clone(&job.block), batch: rest });
                job.batch = share;
                self.ready.notify_one();
            }
            None => self.room.notify_one(),
        }
        state.with_lanes += job.batch.len();
        Some(job)
    }

    /// How many tokens of a batch a lane takes so that something is left for the others; none: all of them.
    fn share(&self, state: &State, job: &Job) -> Option<usize> {
        let tokens = job.batch.tokens();
        let waiting: usize = state.waiting.iter().map(|job| job.batch.tokens()).sum();
        let share = ((tokens + waiting) / state.lanes.max(1)).max(LEAST_SHARE);
        (self.shares && tokens >= share + LEAST_SHARE).then_some(share)
    }

    /// Says that so many sequences of what was taken have their vectors.
    pub fn done(&self, sequences: usize) {
        let mut state = self.lock();
        state.with_lanes = state.with_lanes.saturating_sub(sequences);
        if state.ended && state.with_lanes == 0 {
            self.ready.notify_all();
        }
    }

    /// A lane that cannot go on gives back what it took, and leaves. The last one to leave is a failure of the session. Gives
    /// the number of lanes that are left.
    pub fn leave(&self, jobs: Vec<Job>, failure: Failure) -> usize {
        let mut state = self.lock();
        state.with_lanes = state.with_lanes.saturating_sub(jobs.iter().map(|job| job.batch.len()).sum());
        // In front: the oldest block is the one that the writer waits for.
        jobs.into_iter().rev().for_each(|job| state.waiting.push_front(job));
        state.lanes -= 1;
        let left = state.lanes;
        drop(state);
        self.ready.notify_all();
        if left == 0 {
            self.stop(failure);
        }
        left
    }

    /// Stops everybody; the first failure is kept.
    pub fn stop(&self, failure: Failure) {
        let mut state = self.lock();
        state.stopped = true;
        state.failure.get_or_insert(failure);
        state.alarm = None;
        self.ready.notify_all();
        self.room.notify_all();
    }

    /// What ends when the session stops, for those who wait for something else.
    pub fn stopped(&self) -> &Receiver<Infallible> {
        &self.stopped
    }

    /// Whether every lane waits for a batch.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.with_lanes == 0
    }

    /// Why the session stopped, if it did.
    pub fn into_failure(self) -> Option<Failure> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the session when the thread that holds it panics: the others would wait for ever.
pub struct StopOnPanic<'a>(pub &'a Queue);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(Failure::panic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::block::Block;
    use crate::error::{Error, Fault};
    use crate::pack::TokenBatch;
    use std::thread;
    use std::time::Duration;

    fn job(token: u32) -> Job {
        let block = Block { ids: vec![token.to_string()], proteins: vec![None], ..Block::default() };
        Job { block: Arc::new(block), batch: TokenBatch::of([[token]]) }
    }

    fn token(job: &Job) -> u32 {
        job.batch.sequence(0)[0]
    }

    fn failure(fault: Fault) -> Failure {
        Failure::of(Error::new(fault, "planted"))
    }

    #[test]
    fn a_full_queue_makes_the_planner_wait_and_stopping_frees_it() {
        let queue = Queue::new(2, 1, true);
        assert!(queue.put(job(1)) && queue.put(job(2)));
        thread::scope(|scope| {
            let third = scope.spawn(|| queue.put(job(3)));
            thread::sleep(Duration::from_millis(5));
            assert!(!third.is_finished());
            assert_eq!(queue.take().map(|job| token(&job)), Some(1));
            assert!(third.join().unwrap());
            let fourth = scope.spawn(|| queue.put(job(4)));
            queue.stop(failure(Fault::Torch));
            assert!(!fourth.join().unwrap());
        });
        assert!(queue.take().is_none() && queue.try_take().is_none());
    }

    #[test]
    fn nobody_leaves_while_a_batch_may_still_come_back() {
        let queue = Queue::new(4, 2, true);
        queue.put(job(1));
        queue.end();
        let taken = queue.try_take().unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| queue.take());
            thread::sleep(Duration::from_millis(5));
            assert!(!other.is_finished());
            assert_eq!(queue.leave(vec![taken], failure(Fault::DeviceLost)), 1);
            let job = other.join().unwrap().unwrap();
            assert_eq!(token(&job), 1);
        });
        queue.done(1);
        assert!(queue.take().is_none() && queue.is_idle());
        assert!(queue.into_failure().is_none());
    }

    #[test]
    fn what_comes_back_is_next_even_where_the_queue_is_full() {
        let queue = Queue::new(1, 2, true);
        queue.put(job(1));
        let first = queue.take().unwrap();
        queue.put(job(2));
        queue.leave(vec![first, job(9)], failure(Fault::DeviceLost));
        let order: Vec<u32> = std::iter::from_fn(|| queue.try_take()).map(|job| token(&job)).collect();
        assert_eq!(order, [1, 9, 2]);
    }

    #[test]
    fn lanes_share_the_last_batches_where_vectors_do_not_depend_on_them() {
        let batch = |rows: std::ops::Range<u32>| Job { batch: TokenBatch::of(rows.map(|row| [row; 64])), ..job(0) };
        let sizes = |exact, lanes| {
            let queue = Queue::new(4, lanes, exact);
            assert!(queue.put(batch(0..32)) && queue.put(batch(32..64)));
            let taken: Vec<Job> = std::iter::from_fn(|| queue.try_take()).collect();
            let rows: Vec<u32> =
                taken.iter().flat_map(|job| (0..job.batch.len()).map(|i| job.batch.sequence(i)[0])).collect();
            assert_eq!(rows, (0..64).collect::<Vec<_>>());
            queue.end();
            queue.done(63);
            assert!(!queue.is_idle());
            queue.done(1);
            assert!(queue.is_idle() && queue.take().is_none());
            taken.iter().map(|job| job.batch.tokens()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(false, 2), [2048, 2048]);
        assert_eq!(sizes(true, 1), [2048, 2048]);
        assert_eq!(sizes(true, 2), [2048, 1024, 512, 256, 256]);
        assert_eq!(sizes(true, 3), [1408, 640, 704, 448, 320, 256, 320]);
    }

    #[test]
    fn the_last_lane_to_leave_is_a_failure_and_the_first_failure_counts() {
        let queue = Queue::new(1, 1, true);
        assert_eq!(queue.leave(vec![], failure(Fault::DeviceLost)), 0);
        queue.stop(failure(Fault::Torch));
        assert!(!queue.put(job(1)));
        assert_eq!(queue.into_failure().unwrap().error.fault(), Fault::DeviceLost);
    }
}
