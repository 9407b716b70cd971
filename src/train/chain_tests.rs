use super::*;
use crate::model::Device;
use crate::model::graph::Shape;
use crate::model::lenet::lenet5;

const SIDE: usize = 16;

/// Two classes: the left or the right half is bright. With `worse_after` the judge likes that epoch best, whatever it sees.
struct Halves {
    count: usize,
    worse_after: Option<usize>,
    judged: std::cell::Cell<usize>,
}

impl Halves {
    fn new(count: usize) -> Self {
        Self { count, worse_after: None, judged: 0.into() }
    }

    fn image(item: usize) -> Vec<f32> {
        let bright = |x: usize| (x < SIDE / 2) == item.is_multiple_of(2);
        (0..SIDE * SIDE).map(|at| if bright(at % SIDE) { 1.0 - 0.01 * (item % 7) as f32 } else { 0.0 }).collect()
    }
}

impl Lesson for Halves {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, items: &[usize], _: &mut ChaCha8Rng) -> Batch<'_> {
        let x = items.iter().flat_map(|&item| Self::image(item)).collect();
        Batch { x, goal: Goal::Classes(items.iter().map(|item| (item % 2) as u32).collect()) }
    }

    fn judge(&self, network: &FeedForward) -> Result<Judgement> {
        self.judged.set(self.judged.get() + 1);
        if let Some(after) = self.worse_after {
            return Ok(Judgement { loss: self.judged.get().abs_diff(after) as f64, accuracy: None });
        }
        let logits = network.forward(&[Self::image(0), Self::image(1)].concat())?;
        let right = [logits[0] > logits[1], logits[3] > logits[2]];
        let accuracy = right.iter().filter(|&&right| right).count() as f64 / 2.0;
        Ok(Judgement {
            loss: f64::from(logits[1] - logits[0]) + f64::from(logits[2] - logits[3]),
            accuracy: Some(accuracy),
        })
    }
}

fn network() -> FeedForward {
    FeedForward::new(lenet5(Shape { c: 1, h: SIDE, w: SIDE }, 2), 5, Device::Cpu).unwrap()
}

/// What a network says of a few images: equal, bit for bit, where its weights are.
fn answer(network: &FeedForward) -> Vec<f32> {
    network.forward(&(0..6).flat_map(Halves::image).collect::<Vec<f32>>()).unwrap()
}

fn plan(epochs: usize) -> Plan {
    Plan {
        seed: 3,
        epochs,
        batch_size: 8,
        learning_rate: 2e-3,
        weight_decay: 1e-4,
        l1: 0.0,
        clip_norm: 10.0,
        patience: 3,
        items_per_epoch: None,
    }
}

fn run(network: &mut FeedForward, plan: &Plan, lesson: &Halves) -> Result<History> {
    fit(network, plan, lesson, &AtomicBool::new(false), &mut |_| {})
}

#[test]
fn it_learns_and_the_same_seed_gives_the_same_weights() {
    let (mut first, mut second) = (network(), network());
    let history = run(&mut first, &plan(6), &Halves::new(60)).unwrap();
    run(&mut second, &plan(6), &Halves::new(60)).unwrap();
    assert!(answer(&first) == answer(&second));
    let (start, end) = (&history.epochs[0], &history.epochs[history.best - 1]);
    assert!(end.train_loss < 0.5 * start.train_loss, "{} to {}", start.train_loss, end.train_loss);
    assert_eq!(end.validation_accuracy, Some(1.0));
    assert!(end.learning_rate < start.learning_rate);
    let mut other = network();
    run(&mut other, &Plan { seed: 4, ..plan(6) }, &Halves::new(60)).unwrap();
    assert!(answer(&first) != answer(&other));
}

#[test]
fn it_stops_when_validation_stops_improving_and_keeps_the_best() {
    let mut network = network();
    let mut after = Vec::new();
    let lesson = Halves { worse_after: Some(2), ..Halves::new(16) };
    let history = fit(&mut network, &plan(20), &lesson, &AtomicBool::new(false), &mut |event| {
        if let Event::Epoch(epoch) = event {
            after.push(epoch.epoch);
        }
    })
    .unwrap();
    assert_eq!((history.best, history.end, after.len()), (2, End::EarlyStop, 5));
    // What the second epoch left, and nothing later.
    let mut two = self::network();
    let stop = AtomicBool::new(false);
    let lesson = Halves { worse_after: Some(2), ..Halves::new(16) };
    fit(&mut two, &plan(20), &lesson, &stop, &mut |event| {
        if matches!(event, Event::Epoch(epoch) if epoch.epoch == 2) {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert!(answer(&network) == answer(&two));
}

#[test]
fn every_item_counts_once_an_epoch() {
    let mut steps = Vec::new();
    let all = Plan { items_per_epoch: Some(12), ..plan(2) };
    fit(&mut network(), &all, &Halves::new(60), &AtomicBool::new(false), &mut |event| {
        if let Event::Step(done, whole, _) = event {
            steps.push((done, whole));
        }
    })
    .unwrap();
    assert_eq!(steps, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}

#[test]
fn nothing_to_learn_from_and_nothing_to_keep_are_said() {
    assert_eq!(run(&mut network(), &plan(1), &Halves::new(0)).unwrap_err().kind, Kind::Data);
    let stopped = fit(&mut network(), &plan(1), &Halves::new(8), &AtomicBool::new(true), &mut |_| {});
    assert_eq!(stopped.unwrap_err().kind, Kind::Interrupted);
}
