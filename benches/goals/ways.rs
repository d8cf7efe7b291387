//! Other ways of doing what the goals measure, each against the way it is done: what was tried
//! where a goal isn't reached, so that it can be tried again.

use std::fs::File;
use std::io;

use nix::sys::prctl::set_thp_disable;
use ringpack::ContainerReader;

use crate::many;
use crate::outcome::{Bound, Outcome, Unit};
use crate::range;
use crate::setting::{IN, Setting};

/// A way of doing a job.
#[derive(Clone, Copy)]
struct Way<'a> {
    name: &'a str,
    /// The options that make it.
    options: &'a [&'a str],
    /// Whether the kernel is to give no huge pages.
    small_pages: bool,
}

impl<'a> Way<'a> {
    const fn by(name: &'a str, options: &'a [&'a str]) -> Self {
        Self { name, options, small_pages: false }
    }
}

const CACHED: Way<'_> = Way::by("through the page cache", &["--no-direct"]);
const PLAIN_CALLS: Way<'_> = Way::by("pread and pwrite", &["--io=pwrite"]);
const LONG_CHUNKS: Way<'_> = Way::by("chunks of 4 MiB", &["--chunk-size=4M"]);
const SMALL_PAGES: Way<'_> =
    Way { name: "buffers in small pages", options: &[], small_pages: true };

/// All of them.
pub(crate) fn ways(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let threads = |count: usize| format!("--threads={count}");
    let half = [&*threads((setting.cores / 2).max(1))];
    let one_more = [&*threads(setting.cores + 1)];
    let twice = [&*threads(2 * setting.cores)];
    let half_the_threads = Way::by("half the threads", &half);
    let a_thread_more = Way::by("a thread more than cores", &one_more);
    let twice_the_threads = Way::by("twice the threads", &twice);
    let mut outcomes = Vec::new();
    let of_pack = [a_thread_more, twice_the_threads, LONG_CHUNKS, CACHED, PLAIN_CALLS, SMALL_PAGES];
    for level in ["-1", "-3"] {
        outcomes.extend(of_program(setting, &["pack", "-q", level], IN, "out.zst", &of_pack)?);
    }
    // By the way it is done, for what follows to read.
    setting.ringpack(&["pack", "-q", "-3"], IN, "out.zst")?;
    let of_unpack = [a_thread_more, twice_the_threads, CACHED, PLAIN_CALLS, SMALL_PAGES];
    outcomes.extend(of_program(setting, &["unpack", "-q"], "out.zst", "back", &of_unpack)?);
    setting.place.remove(&["back"])?;
    outcomes.extend(of_range(setting, "out.zst")?);
    setting.place.remove(&["out.zst"])?;
    let slots = Way::by("slots", &["--placement=slots"]);
    let of_store = [half_the_threads, twice_the_threads, LONG_CHUNKS, slots, CACHED, SMALL_PAGES];
    outcomes.extend(of_program(setting, &["pack", "-q", "--store"], IN, "stored", &of_store)?);
    setting.place.remove(&["stored"])?;
    let of_small = [
        Way::by("half as many at once", &half),
        Way::by("twice as many at once", &twice),
        Way::by("a ring each", &["--io=uring"]),
        CACHED,
        Way::by("without checkpoints", &["--no-checkpoint"]),
    ];
    many::make(setting)?;
    let job = format!("{} files of 64 KiB", setting.files);
    let seconds = |options: &[&str]| many::by_program(setting, options);
    outcomes.extend(paired(setting, &job, &of_small, seconds)?);
    many::remove(setting)?;
    Ok(outcomes)
}

/// Of a whole program that reads `input` and writes `output`.
fn of_program(
    setting: &Setting,
    command: &[&str],
    input: &str,
    output: &str,
    ways: &[Way<'_>],
) -> io::Result<Vec<Outcome>> {
    paired(setting, &command.join(" "), ways, |options| {
        Ok(setting.ringpack(&[command, options].concat(), input, output)?.wall)
    })
}

/// Pairs each way with the way it is done; `seconds` does the job with options, and says how long
/// that took.
fn paired(
    setting: &Setting,
    job: &str,
    ways: &[Way<'_>],
    seconds: impl Fn(&[&str]) -> io::Result<f64>,
) -> io::Result<Vec<Outcome>> {
    let of = |way: &Way<'_>| {
        Outcome::new(format!("{job}, {}", way.name), "as it is", Bound::Known, Unit::Seconds)
    };
    let mut outcomes: Vec<Outcome> = ways.iter().map(of).collect();
    for _ in setting.rounds(job) {
        let as_it_is = seconds(&[])?;
        for (outcome, way) in outcomes.iter_mut().zip(ways) {
            // Inherited by what is started.
            set_thp_disable(way.small_pages)?;
            let other = seconds(way.options);
            set_thp_disable(false)?;
            outcome.pair(other?, as_it_is);
        }
    }
    Ok(outcomes)
}

/// Of a read of 4 KiB from a container, with the file in the page cache.
fn of_range(setting: &Setting, container: &str) -> io::Result<Vec<Outcome>> {
    let of = |name: &str| {
        let job = format!("4 KiB, {name}");
        Outcome::new(job, "a reader each", Bound::Known, Unit::Millis)
    };
    let mut kept = of("a reader that is kept");
    let mut shorter = ["256K", "64K"].map(|len| (len, of(&format!("chunks of {len}"))));
    for (len, _) in &shorter {
        setting.ringpack(&["pack", "-q", "-3", "--chunk-size", len], IN, len)?;
    }
    let path = |name: &str| setting.place.path(name);
    for round in setting.rounds("4 KiB") {
        let starts = range::starts(setting, round);
        let millis = |name: &str| {
            io::copy(&mut File::open(path(name))?, &mut io::sink())?;
            let read = |start| range::by_ringpack(&path(name), start);
            range::each(&starts, || Ok(()), read).map(|seconds| seconds * 1e3)
        };
        let as_it_is = millis(container)?;
        let reader = ContainerReader::open(path(container)).map_err(io::Error::other)?;
        let by_kept = range::each(&starts, || Ok(()), |start| range::read(&reader, start))?;
        kept.pair(by_kept * 1e3, as_it_is);
        for (len, outcome) in &mut shorter {
            outcome.pair(millis(len)?, as_it_is);
        }
    }
    setting.place.remove(&shorter.each_ref().map(|(len, _)| *len))?;
    Ok([kept].into_iter().chain(shorter.map(|(_, outcome)| outcome)).collect())
}
