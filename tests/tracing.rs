//! What a program that collects `tracing` is told. One test: the collector is the process's.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::Mutex;

use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::write::{ContainerWriter, WriteOptions};
use ringpack::{Cancel, OsDisk};
use support::chunks::{CHUNK, chunk};
use support::content;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// Every span's text, by its number from 1, and every event under the spans it came in.
#[derive(Default)]
struct Told {
    spans: Vec<String>,
    kinds: Vec<&'static Metadata<'static>>,
    lines: Vec<String>,
}

static TOLD: Mutex<Told> =
    Mutex::new(Told { spans: Vec::new(), kinds: Vec::new(), lines: Vec::new() });

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ringpack"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = span.metadata().name().to_owned();
        span.record(&mut Fields(&mut text));
        let mut told = TOLD.lock().unwrap();
        told.spans.push(text);
        told.kinds.push(span.metadata());
        Id::from_u64(told.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = event.metadata().level().to_string();
        event.record(&mut Fields(&mut text));
        let mut told = TOLD.lock().unwrap();
        let within: Vec<_> = ENTERED.with_borrow(|entered| {
            entered.iter().map(|&id| told.spans[id as usize - 1].clone()).collect()
        });
        told.lines.push(format!("{}: {text}", within.join(" / ")));
    }

    fn current_span(&self) -> Current {
        ENTERED.with_borrow(|entered| match entered.last() {
            Some(&id) => {
                Current::new(Id::from_u64(id), TOLD.lock().unwrap().kinds[id as usize - 1])
            }
            None => Current::none(),
        })
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            assert_eq!(entered.pop(), Some(span.into_u64()), "spans end in turn");
        });
    }
}

/// What was told since the last call.
fn told() -> Told {
    std::mem::take(&mut *TOLD.lock().unwrap())
}

#[test]
fn a_job_is_told_of_with_its_checkpoints_and_its_failure() {
    tracing::subscriber::set_global_default(Collector).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let shown = path.display();

    let bytes = content(2 * CHUNK, 1);
    let options = WriteOptions { chunk_log2: 16, ..WriteOptions::default() };
    let writer = ContainerWriter::create(&path, &options).unwrap();
    for sequence in 0..2 {
        writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
    }
    writer.checkpoint().unwrap();
    writer.finalize(None).unwrap();
    let Told { spans, lines, .. } = told();
    let job = format!("job kind=\"write\" path={shown}");
    assert_eq!(spans.first(), Some(&job), "{spans:?}");
    assert!(spans.contains(&"checkpoint".to_owned()), "{spans:?}");
    assert_eq!(spans.last(), Some(&format!("publish path={shown}")), "{spans:?}");
    // The thread that takes the checkpoint is not the one that began the job.
    let covered = format!("message=a checkpoint is durable chunks=2 bytes={}", 2 * CHUNK);
    assert_eq!(lines, [format!("{job}: DEBUG {covered}")]);

    // A device that is full: the job fails, and says so once.
    let source = folder.path().join("source");
    std::fs::write(&source, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (input, output) = (Input::Path(source.clone()), Output::Stream(file));
    let error = pack(&OsDisk, input, output, &PackOptions::default(), &Cancel::new()).unwrap_err();
    let Told { spans, lines, .. } = told();
    let job = format!("job kind=\"pack\" path={}", source.display());
    assert_eq!(spans, std::slice::from_ref(&job));
    let [failed] = &lines[..] else { panic!("the failure is told once: {lines:?}") };
    assert!(failed.starts_with(&format!("{job}: ERROR")), "{failed}");
    assert!(failed.contains(&format!("kind={:?}", error.kind())), "{failed} {error}");
}
