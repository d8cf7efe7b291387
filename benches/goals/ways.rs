//! Other ways of doing what the goals measure, each against the way it is done: what was tried
//! where a goal isn't reached, so that it can be tried again.

use std::io;
use std::path::Path;
use std::time::Instant;

use nix::sys::prctl::set_thp_disable;
use ringpack::ContainerReader;

use crate::many;
use crate::outcome::{Bound, Outcome, Unit};
use crate::range::{self, LEN};
use crate::setting::{IN, Setting};

/// A way: what it is called, and the options that make it.
pub(crate) type Way<'a> = (&'a str, &'a [&'a str]);

/// The name of the way that needs no option: the kernel gives no huge pages.
const SMALL_PAGES: &str = "buffers in small pages";

/// All of them.
pub(crate) fn ways(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let half = format!("--threads={}", (setting.cores / 2).max(1));
    let one_more = format!("--threads={}", setting.cores + 1);
    let twice = format!("--threads={}", 2 * setting.cores);
    let mut outcomes = Vec::new();
    let of_pack: [Way<'_>; 6] = [
        ("a thread more than cores", &[&one_more]),
        ("twice the threads", &[&twice]),
        ("chunks of 4 MiB", &["--chunk-size=4M"]),
        ("through the page cache", &["--no-direct"]),
        ("pread and pwrite", &["--io=pwrite"]),
        (SMALL_PAGES, &[]),
    ];
    outcomes.extend(of_program(setting, &["pack", "-q", "-1"], IN, "out.zst", &of_pack)?);
    setting.place.remove(&["out.zst"])?;
    setting.ringpack(&["pack", "-q", "-3"], IN, "out.zst")?;
    let of_unpack: [Way<'_>; 5] = [
        ("a thread more than cores", &[&one_more]),
        ("twice the threads", &[&twice]),
        ("through the page cache", &["--no-direct"]),
        ("pread and pwrite", &["--io=pwrite"]),
        (SMALL_PAGES, &[]),
    ];
    outcomes.extend(of_program(setting, &["unpack", "-q"], "out.zst", "back", &of_unpack)?);
    let of_store: [Way<'_>; 6] = [
        ("half the threads", &[&half]),
        ("twice the threads", &[&twice]),
        ("chunks of 4 MiB", &["--chunk-size=4M"]),
        ("slots", &["--placement=slots"]),
        ("through the page cache", &["--no-direct"]),
        (SMALL_PAGES, &[]),
    ];
    outcomes.extend(of_program(setting, &["pack", "-q", "--store"], IN, "stored", &of_store)?);
    setting.place.remove(&["back", "stored"])?;
    outcomes.extend(of_range(setting)?);
    setting.place.remove(&["out.zst"])?;
    let of_small: [Way<'_>; 5] = [
        ("half as many at once", &[&half]),
        ("twice as many at once", &[&twice]),
        ("a ring each", &["--io=uring"]),
        ("through the page cache", &["--no-direct"]),
        ("without checkpoints", &["--no-checkpoint"]),
    ];
    outcomes.extend(many::ways(setting, &of_small)?);
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
    let job = command.join(" ");
    let mut outcomes: Vec<Outcome> = ways.iter().map(|(name, _)| seconds(&job, name)).collect();
    for _ in setting.rounds(&job) {
        let as_it_is = setting.ringpack(command, input, output)?;
        for (outcome, (name, options)) in outcomes.iter_mut().zip(ways) {
            let args = [command, options].concat();
            // Inherited by what is started.
            set_thp_disable(*name == SMALL_PAGES)?;
            let other = setting.ringpack(&args, input, output);
            set_thp_disable(false)?;
            outcome.pair(other?.wall, as_it_is.wall);
        }
    }
    Ok(outcomes)
}

fn seconds(job: &str, name: &str) -> Outcome {
    Outcome::new(format!("{job}, {name}"), "as it is", Bound::Known, Unit::Seconds)
}

/// Of a read of 4 KiB, with the file in the page cache.
fn of_range(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let of = |name: &str| {
        let job = format!("4 KiB, {name}");
        Outcome::new(job, "a reader each", Bound::Known, Unit::Millis)
    };
    let mut kept = of("a reader that is kept");
    let lens = ["256K", "64K"];
    let mut smaller = lens.map(|len| of(&format!("chunks of {len}")));
    for len in lens {
        setting.ringpack(&["pack", "-q", "-3", "--chunk-size", len], IN, len)?;
    }
    let path = |name: &str| setting.place.path(name);
    let once = |path: &Path, start| range::by_ringpack(path, start);
    for round in setting.rounds("4 KiB") {
        let starts = range::starts(setting, round);
        for name in ["out.zst", lens[0], lens[1]] {
            io::copy(&mut std::fs::File::open(path(name))?, &mut io::sink())?;
        }
        let each = range::each(&starts, || Ok(()), |start| once(&path("out.zst"), start))?;
        let reader = ContainerReader::open(path("out.zst")).map_err(io::Error::other)?;
        let begun = Instant::now();
        for &start in &starts {
            reader.read_range(start..start + LEN).map_err(io::Error::other)?;
        }
        let all = begun.elapsed().as_secs_f64();
        kept.pair(all / starts.len() as f64 * 1e3, each * 1e3);
        for (outcome, len) in smaller.iter_mut().zip(lens) {
            let other = range::each(&starts, || Ok(()), |start| once(&path(len), start))?;
            outcome.pair(other * 1e3, each * 1e3);
        }
    }
    setting.place.remove(&lens)?;
    let [quarter, sixteenth] = smaller;
    Ok(vec![kept, quarter, sixteenth])
}
