//! A device made of a clock: every use of a buffer takes its time, and what would have been read wrongly is found.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// Who waits for whom, one for each rule of the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    FillAfterCopy,
    CopyAfterCompute,
    ComputeAfterCopy,
    ReadAfterReturn,
}

const EDGES: [Edge; 4] = [Edge::FillAfterCopy, Edge::CopyAfterCompute, Edge::ComputeAfterCopy, Edge::ReadAfterReturn];

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Times {
    fill: u64,
    copy: u64,
    compute: u64,
    back: u64,
}

/// One use of a buffer.
#[derive(Clone, Copy, Debug)]
struct Use {
    buffer: usize,
    writes: bool,
    batch: i32,
    from: u64,
    to: u64,
}

#[derive(Debug, Default)]
struct History {
    uses: Vec<Use>,
    now: u64,
    buffers: usize,
}

impl History {
    /// What is wrong: two uses at a time of which one writes, or a read of what another batch wrote.
    fn races(&self) -> Vec<String> {
        let mut races = Vec::new();
        for (place, one) in self.uses.iter().enumerate() {
            for other in &self.uses[..place] {
                let at_once = one.from < other.to && other.from < one.to;
                if one.buffer == other.buffer && at_once && (one.writes || other.writes) {
                    races.push(format!("at once: {other:?}, {one:?}"));
                }
            }
            let written = self.uses.iter().filter(|other| other.writes && other.buffer == one.buffer);
            let last = written.filter(|other| other.to <= one.from).max_by_key(|other| other.to);
            if !one.writes && last.is_none_or(|last| last.batch != one.batch) {
                races.push(format!("{one:?} reads what {last:?} wrote"));
            }
        }
        races
    }
}

struct Clock {
    times: Times,
    without: Option<Edge>,
    /// When the copy and the compute queue are done with what they were given.
    queues: [u64; 2],
    history: Rc<RefCell<History>>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: u64,
    queue: Queue,
}

/// A buffer, and the batch that the scheme believes to be in it.
#[derive(Clone, Copy)]
struct Buffer {
    number: usize,
    batch: i32,
}

impl Clock {
    fn new_buffer(&self) -> Buffer {
        let mut history = self.history.borrow_mut();
        history.buffers += 1;
        Buffer { number: history.buffers, batch: -1 }
    }

    fn use_of(&self, buffer: Buffer, writes: bool, [from, to]: [u64; 2]) {
        let Buffer { number, batch } = buffer;
        self.history.borrow_mut().uses.push(Use { buffer: number, writes, batch, from, to });
    }

    /// Time that a piece of work takes in a queue.
    fn enqueue(&mut self, queue: Queue, takes: u64) -> [u64; 2] {
        let end = &mut self.queues[queue as usize];
        let from = (*end).max(self.history.borrow().now);
        *end = from + takes;
        [from, *end]
    }

    /// Time that a piece of work takes on the host.
    fn spend(&self, takes: u64) -> [u64; 2] {
        let mut history = self.history.borrow_mut();
        let from = history.now;
        history.now += takes;
        [from, history.now]
    }
}

impl Transport for Clock {
    type Event = Mark;
    type Host = Buffer;
    type Device = Buffer;
    type Pooled = Buffer;
    type Vectors = Buffer;

    fn event(&mut self) -> Result<Mark> {
        Ok(Mark { at: 0, queue: Queue::Copy })
    }

    fn record(&mut self, event: &mut Mark, queue: Queue) -> Result<()> {
        *event = Mark { at: self.queues[queue as usize], queue };
        Ok(())
    }

    fn hold(&mut self, queue: Queue, until: &Mark) -> Result<()> {
        let edge = if queue == Queue::Copy { Edge::CopyAfterCompute } else { Edge::ComputeAfterCopy };
        if self.without != Some(edge) {
            let end = &mut self.queues[queue as usize];
            *end = until.at.max(*end);
        }
        Ok(())
    }

    fn wait(&mut self, event: &Mark) -> Result<()> {
        let edge = if event.queue == Queue::Copy { Edge::FillAfterCopy } else { Edge::ReadAfterReturn };
        if self.without != Some(edge) {
            let mut history = self.history.borrow_mut();
            history.now = history.now.max(event.at);
        }
        Ok(())
    }

    fn buffers(&mut self, _: usize) -> Result<(Buffer, Buffer)> {
        Ok((self.new_buffer(), self.new_buffer()))
    }

    fn fill(&mut self, host: &mut Buffer, words: &[i32]) -> Result<()> {
        host.batch = words[0];
        let time = self.spend(self.times.fill);
        self.use_of(*host, true, time);
        Ok(())
    }

    fn upload(&mut self, host: &Buffer, device: &mut Buffer, _: usize) -> Result<()> {
        device.batch = host.batch;
        let time = self.enqueue(Queue::Copy, self.times.copy);
        self.use_of(*host, false, time);
        self.use_of(*device, true, time);
        Ok(())
    }

    fn compute(&mut self, device: &Buffer, _: usize, work: impl FnOnce(&Buffer) -> Result<Buffer>) -> Result<Buffer> {
        let time = self.enqueue(Queue::Compute, self.times.compute);
        self.use_of(*device, false, time);
        work(device)
    }

    fn download(&mut self, pooled: Buffer, spare: Option<Buffer>) -> Result<Buffer> {
        let vectors = Buffer { batch: pooled.batch, ..spare.unwrap_or_else(|| self.new_buffer()) };
        let time = self.enqueue(Queue::Compute, self.times.back);
        self.use_of(vectors, true, time);
        Ok(vectors)
    }

    fn read(&mut self, vectors: &Buffer) -> Result<Vec<f32>> {
        let time = self.spend(1);
        self.use_of(*vectors, false, time);
        Ok(vec![vectors.batch as f32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches go through the scheme, up to `depth` at a time; every seventh fails at first.
    fn go_through(times: Times, without: Option<Edge>, [buffers, depth]: [usize; 2]) -> History {
        const BATCHES: i32 = 40;
        let history = Rc::new(RefCell::new(History::default()));
        let clock = Clock { times, without, queues: [0; 2], history: Rc::clone(&history) };
        let mut staging = Staging::new(clock, buffers).unwrap();
        let mut vectors = Vec::new();
        for batch in 0..BATCHES {
            let words = vec![batch; 1 + (batch as usize * 13) % 50];
            if batch % 7 == 3 {
                staging.submit(&words, |_| Err(Error::new(Fault::OutOfMemory, "too large"))).unwrap_err();
            }
            staging.submit(&words, |device| Ok(*device)).unwrap();
            while staging.len() >= depth {
                vectors.extend(staging.collect().unwrap().unwrap());
            }
        }
        while let Some(last) = staging.collect().unwrap() {
            vectors.extend(last);
        }
        assert!(staging.is_empty());
        let all: Vec<f32> = (0..BATCHES).map(|batch| batch as f32).collect();
        assert_eq!(vectors, all, "vectors come back in order, once each");
        drop(staging);
        Rc::into_inner(history).unwrap().into_inner()
    }

    fn grid() -> impl Iterator<Item = Times> {
        const STEPS: [u64; 3] = [1, 10, 70];
        let pairs = STEPS.into_iter().flat_map(|fill| STEPS.map(|copy| (fill, copy)));
        pairs.flat_map(|(fill, copy)| {
            STEPS.into_iter().flat_map(move |compute| STEPS.map(|back| Times { fill, copy, compute, back }))
        })
    }

    #[test]
    fn no_batch_is_read_before_it_is_whole_or_written_while_it_is_read() {
        for times in grid() {
            for buffers in [1, 2, 3] {
                for depth in [1, 2, 3, 5, 100] {
                    let races = go_through(times, None, [buffers, depth]).races();
                    assert!(races.is_empty(), "{times:?}, {buffers} buffers, {depth} batches at a time: {}", races[0]);
                }
            }
        }
    }

    #[test]
    fn every_rule_is_needed() {
        for edge in EDGES {
            let races = grid().map(|times| go_through(times, Some(edge), [3, 100]).races().len());
            assert!(races.sum::<usize>() > 0, "nothing goes wrong without {edge:?}");
        }
    }

    #[test]
    fn copies_take_no_time_of_the_computation() {
        let times = Times { fill: 1, copy: 9, compute: 10, back: 1 };
        let ended = |shape| go_through(times, None, shape).now;
        // 40 batches of 11, 6 more that failed, and the first copy.
        let (busy, slack) = (40 * 11 + 6 * 10, 30);
        let ring = ended([3, 3]);
        assert!((busy..busy + slack).contains(&ring), "{ring} instead of {busy}");
        assert!(ended([1, 1]) > ring + 40 * 5);
    }

    #[test]
    fn memory_that_is_given_up_comes_back_with_the_next_batch() {
        let history = Rc::new(RefCell::new(History::default()));
        let times = Times { fill: 1, copy: 5, compute: 9, back: 1 };
        let clock = Clock { times, without: None, queues: [0; 2], history: Rc::clone(&history) };
        let mut staging = Staging::new(clock, 2).unwrap();
        for batch in 0..6 {
            staging.submit(&[batch], |device| Ok(*device)).unwrap();
            if batch == 3 {
                staging.shrink().unwrap();
            }
        }
        for batch in 0..6 {
            assert_eq!(staging.collect().unwrap().unwrap(), [batch as f32]);
        }
        assert_eq!(staging.collect().unwrap(), None);
        assert_eq!(history.borrow().races(), [""; 0]);
    }
}
