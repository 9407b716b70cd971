//! What each thread is doing, for those who look for one that hangs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a thread is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// Waits for something to do, or for somebody to take what it has done.
    Rest,
    /// Asks a filesystem that may not answer.
    Reach {
        /// The inbox or the archive, as it is named.
        place: Arc<Path>,
        /// The file or folder.
        path: PathBuf,
    },
    /// Computes.
    Work {
        /// Of which file, or the first of several.
        source: Arc<str>,
        /// Which frame, or the first of several.
        frame: u32,
    },
}

/// Where a thread says what it does.
#[derive(Debug)]
pub struct Post {
    /// The thread's task: `decode-0`, `score`.
    pub worker: String,
    doing: Mutex<(u64, Doing)>,
    task: Mutex<Option<PathBuf>>,
}

/// All posts of a run.
#[derive(Debug, Default)]
pub struct Posts(Mutex<Vec<Arc<Post>>>);

impl Post {
    /// Says what the calling thread does from now on.
    pub fn say(&self, doing: Doing) {
        let mut place = lock(&self.doing);
        place.0 += 1;
        place.1 = doing;
    }

    /// Waits for somebody else: what the calling thread did before, it does again afterwards.
    pub fn wait_for<T>(&self, wait: impl FnOnce() -> T) -> T {
        let (_, before) = self.doing();
        self.say(Doing::Rest);
        let waited = wait();
        self.say(before);
        waited
    }

    /// Says that the calling thread has come further in what it does: the filesystem has answered.
    pub fn step(&self) {
        lock(&self.doing).0 += 1;
    }

    /// What the thread does, and a number that is another one for each piece of work.
    pub fn doing(&self) -> (u64, Doing) {
        lock(&self.doing).clone()
    }

    /// Does something while the thread cannot go on to its next piece of work; `None` where it has done so already.
    pub fn held_at<T>(&self, turn: u64, act: impl FnOnce() -> T) -> Option<T> {
        let place = lock(&self.doing);
        (place.0 == turn).then(act)
    }

    /// Makes the calling thread the one whose time [`Self::cpu_s`] tells.
    pub fn take(&self) {
        *lock(&self.task) = std::fs::read_link("/proc/thread-self").ok();
    }

    /// Seconds of processor time of the thread so far; `None` where the kernel does not tell.
    pub fn cpu_s(&self) -> Option<f64> {
        let task = lock(&self.task).clone()?;
        cpu_s(&std::fs::read_to_string(Path::new("/proc").join(task).join("stat")).ok()?)
    }
}

impl Posts {
    /// A new post.
    pub fn post(&self, worker: &str) -> Arc<Post> {
        let post =
            Arc::new(Post { worker: worker.into(), doing: Mutex::new((0, Doing::Rest)), task: Mutex::default() });
        lock(&self.0).push(post.clone());
        post
    }

    /// The posts of threads that still live.
    pub fn all(&self) -> Vec<Arc<Post>> {
        let mut posts = lock(&self.0);
        posts.retain(|post| Arc::strong_count(post) > 1);
        posts.clone()
    }
}

fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User and system time in a line of `/proc/<pid>/task/<tid>/stat`, whose unit is fixed at 1/100 s for user space. The name in
/// brackets may hold anything.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn processor_time_is_that_of_the_thread() {
        assert_eq!(cpu_s("7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0"), Some(3.0));
        let posts = Posts::default();
        let (idle, busy) = (posts.post("idle"), posts.post("busy"));
        idle.take();
        let other = busy.clone();
        std::thread::spawn(move || {
            other.take();
            let begun = Instant::now();
            while other.cpu_s().unwrap() < 0.05 {
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::hint::black_box((0..100_000u64).sum::<u64>());
            }
        })
        .join()
        .unwrap();
        assert!(busy.cpu_s().is_none(), "the thread has ended");
        assert!(idle.cpu_s().is_some());
    }

    #[test]
    fn posts_of_threads_that_ended_are_forgotten() {
        let posts = Posts::default();
        let (one, two) = (posts.post("one"), posts.post("two"));
        drop(one);
        assert_eq!(posts.all().len(), 1);
        let before = two.doing();
        two.say(Doing::Rest);
        assert_ne!(two.doing(), before, "each word counts");
        let work = Doing::Work { source: "a".into(), frame: 3 };
        let (turn, _) = two.doing();
        assert_eq!(two.held_at(turn, || 7), Some(7));
        two.say(work.clone());
        assert_eq!(two.held_at(turn, || 7), None, "it has gone on");
        assert_eq!(two.wait_for(|| two.doing().1), Doing::Rest);
        assert_eq!(two.doing().1, work);
    }
}
