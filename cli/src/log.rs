//! Logs: the engine's spans and events, by `-vv`, `-vvv` or `RINGPACK_LOG`.

use std::fmt::Debug;
use std::io::{self, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::exit::Failure;
use crate::message;
use crate::progress;

const VARIABLE: &str = "RINGPACK_LOG";

/// Starts logging, if it is asked for and wasn't started before: with zstd's flags a command is run
/// for each file.
pub(crate) fn start(verbose: u8) -> Result<(), Failure> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let directives = match (wanted.trim(), verbose) {
        ("", 0 | 1) => return Ok(()),
        ("", 2) => "ringpack=info",
        ("", _) => "ringpack=debug",
        (wanted, _) => wanted,
    };
    let filter = EnvFilter::builder().parse(directives).map_err(|error| {
        let example = "debug or ringpack=info, say";
        Failure::Usage(format!("{VARIABLE}={directives}: {error}; give a level: {example}"))
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = if message::is_json() {
        registry.with(Objects).try_init()
    } else {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(|| Apart)
            .with_ansi(message::is_coloured())
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE);
        registry.with(lines).try_init()
    };
    started.map_err(|error| Failure::Other(format!("cannot start logging: {error}")))
}

/// Standard error, beside the bar.
struct Apart;

impl Write for Apart {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whole lines come at once. That nobody reads them is no reason to fail.
        let _ = progress::apart(|| stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Events as programs get them.
struct Objects;

#[derive(Serialize)]
struct Logged {
    message_type: &'static str,
    level: String,
    message: String,
    spans: Vec<&'static str>,
    fields: Map<String, Value>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Objects {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        message::json(&Logged {
            message_type: "log",
            level: event.metadata().level().as_str().to_lowercase(),
            message: fields.message,
            spans: spans.map(|span| span.name()).collect(),
            fields: fields.others,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.others.insert(field.name().to_owned(), format!("{value:?}").into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}
