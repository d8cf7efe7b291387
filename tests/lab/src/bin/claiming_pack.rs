//! Packs a file, or goes on with one, and says what it claims on the way.
//!
//! ```text
//! claiming-pack pack SHAPE INPUT TARGET CTL [suspend|kill BYTES]
//! claiming-pack resume SHAPE TARGET CTL CLAIMED
//! ```
//!
//! It marks `start` before anything is done, `checkpoint BYTES` as soon as the library reports one,
//! and `committed` after the library reported success. Stopped, it ends itself at the first
//! checkpoint that covers so many bytes: by the library's own way, or by SIGKILL. Once it has read
//! as much, it may read on only slowly. What goes on claims at its start what the interrupted run
//! had claimed.
//!
//! Its standard output says what became of it, as [`Outcome`] reads it.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringpack::Cancel;
use ringpack::pack::{Input, Observer, Output, PackReport, pack, recorded_input, resume};
use ringpack::ring::file::Disk;
use ringpack::ring::os::OsDisk;
use ringpack_lab::claims::START;
use ringpack_lab::outcome::Outcome;
use ringpack_lab::packing::{CHECKPOINT, COMMITTED};
use ringpack_lab::shape::{CHUNK_LEN, Shape, Stop};
use support::watched::{Step, WatchedDisk};

/// For how long the reading of an extent is held up. There are dozens of them.
const HOLD: Duration = Duration::from_millis(50);

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Packed = std::result::Result<PackReport, ringpack::Error>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (ctl, result) = match *args.as_slice() {
        ["pack", shape, input, target, ctl, ref stop @ ..] => {
            let stop = Stop::parse(stop)?;
            mark(ctl, START);
            (ctl, begin(shape, input, target, ctl, stop)?)
        }
        ["resume", shape, target, ctl, claimed] => {
            mark(ctl, &format!("{CHECKPOINT} {claimed}"));
            mark(ctl, START);
            (ctl, go_on(shape, target, ctl)?)
        }
        _ => return Err("see the head of claiming_pack.rs".into()),
    };
    if result.is_ok() {
        mark(ctl, COMMITTED);
    }
    println!("{}", Outcome::of(&result));
    result.map(|_| ()).map_err(|error| error.to_string().into())
}

fn begin(shape: &str, input: &str, target: &str, ctl: &str, stop: Option<Stop>) -> Result<Packed> {
    let shape = Shape::named(shape).ok_or("no such shape")?;
    let cancel = Cancel::new();
    let observer = observer(ctl, stop, &cancel);
    let mut options = ringpack::pack::PackOptions { observer, ..shape.options() };
    let disk: Box<dyn Disk> = match stop {
        None => Box::new(OsDisk),
        Some(stop) => {
            options.threads = Some(1);
            Box::new(slow_behind(stop.bytes(), cancel.clone()))
        }
    };
    Ok(pack(&*disk, Input::Path(input.into()), Output::Path(target.into()), &options, &cancel))
}

/// A disk on which extents are read slowly once so many bytes were, until the run is stopped. Else
/// it might get to its end before its first checkpoint does, where flushes are slow against the
/// processor. It isn't held up for good: who waits there doesn't look at what was written, which
/// the checkpoint may need.
fn slow_behind(bytes: u64, cancel: Cancel) -> impl Disk {
    let extents = AtomicU64::new(0);
    WatchedDisk::new(OsDisk, move |step| {
        if step != Step::Read || extents.fetch_add(1, Relaxed) * CHUNK_LEN < bytes {
            return;
        }
        let end = Instant::now() + HOLD;
        while !cancel.is_suspended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

fn go_on(shape: &str, target: &str, ctl: &str) -> Result<Packed> {
    let shape = Shape::named(shape).ok_or("no such shape")?;
    let cancel = Cancel::new();
    let observer = observer(ctl, None, &cancel);
    let options = ringpack::pack::ResumeOptions { observer, ..shape.resume_options() };
    Ok(resume(&OsDisk, target.as_ref(), &mut recorded_input, &options, &cancel))
}

fn observer(ctl: &str, stop: Option<Stop>, cancel: &Cancel) -> Observer {
    let (ctl, cancel) = (ctl.to_owned(), cancel.clone());
    Observer::new(move |checkpoint| {
        mark(&ctl, &format!("{CHECKPOINT} {}", checkpoint.bytes));
        match stop {
            Some(Stop::Suspend(bytes)) if checkpoint.bytes >= bytes => cancel.suspend(),
            Some(Stop::Kill(bytes)) if checkpoint.bytes >= bytes => {
                kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
            }
            _ => {}
        }
    })
}

/// Makes a mark; it stands when this returns. Outside of a recording the marks are lines of a file.
fn mark(ctl: &str, text: &str) {
    let file = OpenOptions::new().append(true).create(true).open(ctl);
    let written = file.and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    written.expect("marks can be made");
}
