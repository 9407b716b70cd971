//! Keeps a storm of equal warnings from flooding the log: a few lines a minute of each kind, pipeline and reason, then how
//! many more there were.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Lines of one kind in a window.
const MOST: u64 = 20;
/// How long lines of one kind are counted together.
const WINDOW: Duration = Duration::from_secs(60);

static FLOOD: OnceLock<Arc<Flood>> = OnceLock::new();

/// The layer that limits the warnings and errors of this process.
pub fn limit() -> Limit {
    Limit(FLOOD.get_or_init(Arc::default).clone())
}

/// Says what was held back in the minutes that are over; to be called every now and then.
pub fn sweep() {
    if let Some(flood) = FLOOD.get() {
        flood.sweep(Instant::now(), false);
    }
}

/// Says what was held back and has not been said, before the process ends.
pub fn finish() {
    if let Some(flood) = FLOOD.get() {
        flood.sweep(Instant::now(), true);
    }
}

/// Warnings that are the same to a reader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    callsite: Identifier,
    pipeline: Option<String>,
    reason: Option<String>,
}

/// How many there were since when.
#[derive(Debug)]
struct Window {
    since: Instant,
    seen: u64,
    message: String,
}

/// What has been logged of each kind.
#[derive(Debug, Default)]
struct Flood(Mutex<HashMap<Kind, Window>>);

impl Flood {
    fn admit(&self, now: Instant, kind: Kind, message: String) -> bool {
        let mut kinds = self.lock();
        let window = kinds.entry(kind).or_insert(Window { since: now, seen: 0, message });
        window.seen += 1;
        window.seen <= MOST
    }

    fn sweep(&self, now: Instant, all: bool) {
        let over = |window: &Window| all || now.duration_since(window.since) >= WINDOW;
        let ended: Vec<_> = self.lock().extract_if(|_, window| over(window)).collect();
        for (Kind { pipeline, reason, .. }, Window { seen, message, since }) in ended {
            if let Some(more) = seen.checked_sub(MOST).filter(|more| *more > 0) {
                let seconds = now.duration_since(since).as_secs();
                warn!(pipeline, reason, more, seconds, "and {more} more: {message}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets warnings and errors through, as long as they are not a storm.
#[derive(Debug)]
pub struct Limit(Arc<Flood>);

/// The pipeline a span is about.
struct About(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Limit {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(pipeline)) = (context.span(id), fields.pipeline) {
            span.extensions_mut().insert(About(pipeline));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let meta = event.metadata();
        if *meta.level() > Level::WARN || meta.target() == module_path!() {
            return true;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let around = || {
            let span = context.event_span(event)?;
            span.extensions().get::<About>().map(|about| about.0.clone())
        };
        let Fields { pipeline, reason, message } = fields;
        let kind = Kind { callsite: meta.callsite(), pipeline: pipeline.or_else(around), reason };
        self.0.admit(Instant::now(), kind, message.unwrap_or_default())
    }
}

/// The fields that tell warnings apart, and the message.
#[derive(Default)]
struct Fields {
    pipeline: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

impl Fields {
    fn place(&mut self, field: &Field) -> Option<&mut Option<String>> {
        match field.name() {
            "pipeline" => Some(&mut self.pipeline),
            "reason" => Some(&mut self.reason),
            "message" => Some(&mut self.message),
            _ => None,
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(place) = self.place(field) {
            *place = Some(value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if let Some(place) = self.place(field) {
            *place = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Keeps message and reason of every event it sees.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<[Option<String>; 2]>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().unwrap().push([fields.message, fields.reason]);
        }
    }

    #[test]
    fn a_storm_is_cut_to_a_few_lines_and_a_count_for_each_pipeline_and_reason() {
        let (flood, seen) = (Arc::<Flood>::default(), Seen::default());
        let subscriber = tracing_subscriber::registry().with(Limit(flood.clone())).with(seen.clone());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                for pipeline in ["digits", "stars"] {
                    info_span!("frame", pipeline).in_scope(|| warn!(reason = "not_an_image", number, "rejected"));
                }
            }
            warn!(pipeline = "digits", reason = "truncated", "rejected");
            let is = |text: &str, line: &[Option<String>; 2]| line[0].as_deref() == Some(text);
            let lines = |text: &str| seen.0.lock().unwrap().iter().filter(|line| is(text, line)).count();
            assert_eq!(lines("rejected"), 2 * MOST as usize + 1);
            flood.sweep(Instant::now(), false);
            assert_eq!(lines("rejected"), seen.0.lock().unwrap().len(), "the minute is not over");
            flood.sweep(Instant::now() + WINDOW, false);
            assert_eq!(lines("and 9980 more: rejected"), 2);
            assert_eq!(seen.0.lock().unwrap().last().unwrap()[1].as_deref(), Some("not_an_image"));
            warn!(pipeline = "digits", reason = "not_an_image", "rejected");
            assert_eq!(lines("rejected"), 2 * MOST as usize + 2, "a new minute begins anew");
        });
    }
}
