//! Files waiting to be read: a line for each lane, so that one inbox that stalls does not hold up the others.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stages::Job;

/// What the lines may hold, and what may be taken from them at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Files waiting in a line.
    pub files: usize,
    /// Bytes of all files being read; a line has its share, and what is larger than the share passes alone.
    pub bytes: u64,
}

/// Lines of files, one a lane.
pub struct Queue {
    bounds: Bounds,
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    /// The line to be asked first: they take turns.
    next: usize,
    /// Threads that take. A line may have all in its reads but one for each other line.
    workers: usize,
    /// Those who may still push.
    feeds: usize,
    closed: bool,
}

struct Line {
    lane: Arc<str>,
    /// Whether its lane is still there: one that a reload has taken away keeps no thread and no memory from the others.
    living: bool,
    jobs: VecDeque<Job>,
    /// Files of this line being read.
    reading: usize,
    /// Bytes of this line's files being read.
    bytes: u64,
}

/// The right to push; the queue is closed when the last one is dropped.
pub struct Feed(Arc<Queue>);

/// A file taken from the queue, until it is dropped: its share of the threads and of the memory.
pub struct Hold {
    queue: Arc<Queue>,
    line: usize,
    bytes: u64,
    reading: bool,
}

/// Why a file was not taken.
pub enum Refused {
    /// Its line is full.
    Full(Box<Job>),
    /// Nobody takes any more.
    Closed,
}

impl Queue {
    /// An empty queue, and the right to push to it.
    pub fn new(bounds: Bounds) -> (Arc<Self>, Feed) {
        let lines = Mutex::new(Lines { feeds: 1, ..Lines::default() });
        let queue = Arc::new(Self { bounds, lines, changed: Condvar::new() });
        (queue.clone(), Feed(queue))
    }

    /// The next file, of the lines in turn; waits for one. `None` when the queue is closed and empty.
    pub fn take(self: &Arc<Self>) -> Option<(Job, Hold)> {
        let mut lines = self.lock();
        loop {
            if let Some((line, job)) = lines.next(&self.bounds) {
                let bytes = job.stat.size;
                lines.lines[line].reading += 1;
                lines.lines[line].bytes += bytes;
                drop(lines);
                self.changed.notify_all();
                return Some((job, Hold { queue: self.clone(), line, bytes, reading: true }));
            }
            if lines.closed && lines.lines.iter().all(|line| line.jobs.is_empty()) {
                return None;
            }
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes the lines of lanes before their first files come: a lane must not have all threads because the others are late.
    /// Lines of other lanes no longer count, but for what they still hold.
    pub fn expect<'a>(&self, lanes: impl IntoIterator<Item = &'a str>) {
        let mut lines = self.lock();
        lines.lines.iter_mut().for_each(|line| line.living = false);
        for lane in lanes {
            lines.line(lane).living = true;
        }
        drop(lines);
        self.changed.notify_all();
    }

    /// Counts one more thread that takes.
    pub fn enlist(&self) {
        self.lock().workers += 1;
        self.changed.notify_all();
    }

    /// Takes no more files; what is queued is still given out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Files waiting.
    pub fn len(&self) -> usize {
        self.lock().lines.iter().map(|line| line.jobs.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn next(&mut self, bounds: &Bounds) -> Option<(usize, Job)> {
        let count = self.lines.len();
        let reading: usize = self.lines.iter().map(|line| line.reading).sum();
        let expected = |line: &&Line| line.living || !line.jobs.is_empty();
        let idle = self.lines.iter().filter(expected).filter(|line| line.reading == 0).count();
        let sharing = self.lines.iter().filter(|line| expected(line) || line.bytes > 0).count();
        let share = bounds.bytes / sharing.max(1) as u64;
        let turn = (0..count).map(|step| (self.next + step) % count).find(|&at| {
            let line = &self.lines[at];
            let fits = |job: &Job| line.bytes == 0 || line.bytes.saturating_add(job.stat.size) <= share;
            // One thread is left for each line that reads nothing now.
            let free = line.reading == 0 || reading + 1 + idle <= self.workers;
            free && line.jobs.front().is_some_and(fits)
        })?;
        self.next = (turn + 1) % count;
        Some((turn, self.lines[turn].jobs.pop_front()?))
    }

    fn line(&mut self, lane: &str) -> &mut Line {
        let at = self.lines.iter().position(|line| &*line.lane == lane).unwrap_or_else(|| {
            self.lines.push(Line { lane: lane.into(), living: true, jobs: VecDeque::new(), reading: 0, bytes: 0 });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

impl Feed {
    /// Adds a file to its lane's line, if there is room in time.
    ///
    /// # Errors
    /// [`Refused`], with the file where it may be tried again.
    pub fn push(&self, job: Job, patience: Duration) -> Result<(), Refused> {
        let until = Instant::now() + patience;
        let mut lines = self.0.lock();
        while !lines.closed {
            let line = lines.line(&job.lane.name);
            if line.jobs.len() < self.0.bounds.files {
                line.jobs.push_back(job);
                self.0.changed.notify_all();
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Refused::Full(Box::new(job)));
            }
            lines = self.0.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Refused::Closed)
    }
}

impl Clone for Feed {
    fn clone(&self) -> Self {
        self.0.lock().feeds += 1;
        Self(self.0.clone())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut lines = self.0.lock();
        lines.feeds -= 1;
        lines.closed |= lines.feeds == 0;
        drop(lines);
        self.0.changed.notify_all();
    }
}

impl Hold {
    /// The file has been read: its inbox holds this thread no longer.
    pub fn has_read(&mut self) {
        if std::mem::replace(&mut self.reading, false) {
            self.queue.lock().lines[self.line].reading -= 1;
            self.queue.changed.notify_all();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.has_read();
        self.queue.lock().lines[self.line].bytes -= self.bytes;
        self.queue.changed.notify_all();
    }
}
