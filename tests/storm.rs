//! A storm of `SIGKILL`s: packing is killed at random moments, and going on with it too, and what
//! comes of it has the bytes of a run that was left alone.
//!
//! `SIGKILL` leaves the page cache standing, so all of this shows safety against the death of the
//! process and nothing about the medium; of power cuts the laboratory tells (`tests/lab`).
//!
//! The moments are of four kinds, so that all phases are hit: a point in the time that a run left
//! alone takes; the partial file coming into being; the journal reaching some length, which is to
//! say just after a checkpoint; and the target changing hands. A pipe's packer is killed after so
//! many bytes went into it. Where the killed program had said `checkpoint: … durable`, going on
//! must not adopt less.
//!
//! `RINGPACK_SEED` decides what is drawn (the moments themselves are the scheduler's),
//! `RINGPACK_KILLS` how many kills there are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::codes::{LOCKED, NOT_RESUMABLE};
use support::mount::{FileSystem, Mount};
use support::processes::{Running, until};
use support::{Random, assert_same, backends, content, names, ringpack, succeed};

const TARGET: &str = "out";
const PARTIAL: &str = "out.ringpack-partial";
const JOURNAL: &str = "out.ringpack-journal";
const OLD: &[u8] = b"what stood there before";

/// Kills of packing a file, and of going on with it, unless another number is asked for.
const KILLS: u64 = 220;
/// The same of packing a pipe.
const PIPE_KILLS: u64 = 80;
/// Most kills of one job: then it is left to end.
const DEPTH_MAX: usize = 4;
/// How it is packed: placement, length of the input, checkpoints.
const WAYS: [(&str, usize); 4] = [
    ("--placement slots --chunk-size 64K --checkpoint-size 256K -1", 6 << 20),
    ("--placement slots --chunk-size 64K --checkpoint-size 512K --store --no-direct", 12 << 20),
    ("--chunk-size 64K --checkpoint-size 4M -3", 30 << 20),
    ("--chunk-size 128K --checkpoint-size 1M --digest blake3 -1 --no-direct", 24 << 20),
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A way of packing, with what comes of it undisturbed.
struct Way {
    args: Vec<String>,
    input: PathBuf,
    content: Vec<u8>,
    expected: Vec<u8>,
    /// What it takes undisturbed.
    time: Duration,
}

impl Way {
    fn new(folder: &Path, args: &str, len: usize, io: &str) -> Self {
        let input = folder.join(format!("in-{len}"));
        let content = content(len, len as u64);
        fs::write(&input, &content).unwrap();
        let mut args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        args.extend(["--io", io, "-v", "-f", "-o"].map(str::to_owned));
        let mut way = Self { args, input, content, expected: Vec::new(), time: Duration::ZERO };
        let target = folder.join(TARGET);
        let began = Instant::now();
        succeed(way.pack(&way.input, &target).stdin(Stdio::null()));
        way.time = began.elapsed();
        way.expected = fs::read(&target).unwrap();
        way
    }

    fn pack(&self, input: &Path, target: &Path) -> Command {
        let mut command = ringpack(["pack"]);
        command.arg(input).args(&self.args).arg(target);
        command
    }
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After so long a time.
    Time(Duration),
    /// When there is a partial file.
    Begun,
    /// When the journal has this length.
    Journaled(u64),
    /// When something else has the target's name.
    Published,
}

impl Moment {
    fn draw(random: &mut Random, time: Duration) -> Self {
        match random.below(8) {
            0 => Self::Begun,
            1 | 2 => Self::Journaled(1 + random.below(16 << 10)),
            3 => Self::Published,
            _ => {
                let micros = time.as_micros() as u64;
                Self::Time(Duration::from_micros(random.below(micros + micros / 8)))
            }
        }
    }

    fn has_come(self, folder: &Path, began: Instant, old: Option<u64>) -> bool {
        let len =
            |name| fs::metadata(folder.join(name)).map_or(0, |found: fs::Metadata| found.len());
        match self {
            Self::Time(time) => began.elapsed() >= time,
            Self::Begun => folder.join(PARTIAL).exists(),
            Self::Journaled(bytes) => len(JOURNAL) >= bytes,
            Self::Published => inode(&folder.join(TARGET)) != old,
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

/// How a run ended.
struct End {
    output: Output,
    was_killed: bool,
    /// The most that it said is durable.
    claimed: f64,
}

impl End {
    fn of(output: Output) -> Self {
        let stderr = stderr(&output);
        let claims = stderr.lines().filter_map(|line| line.strip_prefix("checkpoint: "));
        let claimed = claims.map(|line| bytes(line).expect("a size")).fold(0.0, f64::max);
        let was_killed = output.status.signal() == Some(Signal::SIGKILL as i32);
        Self { output, was_killed, claimed }
    }

    /// What it said was there from before it.
    fn adopted(&self) -> Option<f64> {
        let stderr = stderr(&self.output);
        bytes(stderr.lines().find(|line| line.contains("of it from before"))?)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The size that a line begins with, as people write it.
fn bytes(line: &str) -> Option<f64> {
    let mut words = line.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let units = ["B", "KiB", "MiB", "GiB"];
    let unit = words.next()?;
    let power = units.iter().position(|known| *known == unit)?;
    Some(number * 1024_f64.powi(power as i32))
}

/// Starts a command and kills it when the moment has come, unless it ends before.
fn killed(command: &mut Command, folder: &Path, moment: Moment) -> End {
    let old = inode(&folder.join(TARGET));
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    let began = Instant::now();
    until("the moment has come", || {
        moment.has_come(folder, began, old)
            || running.child().try_wait().expect("a child can be waited for").is_some()
    });
    // One that ended by itself was waited for, and nothing is sent.
    running.child().kill().expect("a child can be killed");
    End::of(running.end())
}

/// What the kills hit, and how many there were.
#[derive(Default)]
struct Tally {
    kills: u64,
    completed: u64,
    phases: BTreeMap<&'static str, u64>,
    depths: BTreeMap<usize, u64>,
    resumed: u64,
    claimed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        let Self { kills, completed, phases, depths, resumed, claimed } = other;
        self.kills += kills;
        self.completed += completed;
        self.resumed += resumed;
        self.claimed += claimed;
        phases.into_iter().for_each(|(phase, hits)| *self.phases.entry(phase).or_default() += hits);
        depths.into_iter().for_each(|(depth, jobs)| *self.depths.entry(depth).or_default() += jobs);
    }

    fn note(&mut self, folder: &Path, expected: &[u8], end: &End) {
        if !end.was_killed {
            self.completed += 1;
            return;
        }
        let there = |name| folder.join(name).exists();
        let is_new = fs::read(folder.join(TARGET)).is_ok_and(|found| found == expected);
        let phase = match (there(PARTIAL), there(JOURNAL), is_new) {
            (false, false, false) => "nothing yet",
            (true, false, false) => "partial",
            (true, true, false) => "partial and journal",
            (false, true, true) => "target and journal",
            (false, false, true) => "target",
            other => panic!("partial, journal, target: {other:?}, {:?}", names(folder)),
        };
        self.kills += 1;
        self.claimed += u64::from(end.claimed > 0.0);
        *self.phases.entry(phase).or_default() += 1;
    }
}

/// Runs a command until the lock of whoever was killed before it is free.
fn once_unlocked(mut run: impl FnMut() -> End) -> End {
    let mut end = run();
    until("the dead one's lock is free", || {
        let is_locked = end.output.status.code() == Some(LOCKED);
        if is_locked {
            end = run();
        }
        !is_locked
    });
    end
}

/// A folder in which jobs are killed.
struct Place<'a> {
    name: &'a str,
    folder: &'a Path,
}

impl Place<'_> {
    /// Begins anew: with an older target, or none.
    fn clear(&self, has_old: bool) {
        for name in names(self.folder) {
            fs::remove_file(self.folder.join(name)).unwrap();
        }
        if has_old {
            fs::write(self.folder.join(TARGET), OLD).unwrap();
        }
    }

    /// Checks that a target that isn't the new one is as it was.
    fn check_target(&self, way: &Way, has_old: bool, what: &str) {
        match fs::read(self.folder.join(TARGET)) {
            Ok(found) if found == OLD && has_old => {}
            Ok(found) => assert_same(&found, &way.expected, what),
            Err(_) => assert!(!has_old, "{what}: the old target is gone"),
        }
    }

    /// Ends a job that was killed, however often, by `resume` and checks what came of it.
    /// `claimed` is what it had said was durable.
    fn finish(&self, way: &Way, end: &End, claimed: f64, tally: &mut Tally, what: &str) {
        let target = self.folder.join(TARGET);
        let what = format!("{what}, claimed {claimed}: {}", stderr(&end.output));
        match end.output.status.code() {
            // It was killed after it had published: what stands there is compared below.
            Some(0) if stderr(&end.output).contains("complete, nothing to resume") => {}
            Some(0) => {
                let adopted = end.adopted();
                assert!(adopted.unwrap_or(0.0) >= claimed, "{what}");
                tally.resumed += u64::from(adopted.is_some());
            }
            Some(NOT_RESUMABLE) => {
                let is_new = fs::read(&target).is_ok_and(|found| found == way.expected);
                assert!(claimed == 0.0 || is_new, "{what}");
                if !is_new {
                    // There is nothing to go on from; with or without asking for it.
                    succeed(way.pack(&way.input, &target).arg("--resume"));
                }
            }
            _ => panic!("{what}"),
        }
        assert_same(&fs::read(&target).unwrap(), &way.expected, &what);
        let left = names(self.folder);
        if left != [TARGET] {
            assert_eq!(left, [TARGET, JOURNAL], "{what}");
            succeed(ringpack(["clean"]).arg(self.folder));
            assert_eq!(names(self.folder), [TARGET], "{what}");
        }
    }

    /// Packs a file, kills that, goes on, kills that at times, and lets the last one end.
    fn strike(&self, way: &Way, random: &mut Random, tally: &mut Tally) {
        let has_old = random.below(2) == 0;
        self.clear(has_old);
        let target = self.folder.join(TARGET);
        let mut claimed = 0_f64;
        for depth in 0..DEPTH_MAX {
            let what = format!("{}, {:?}, run {depth}", self.name, way.args);
            // Every killed run is gone on with; of those who go on every second is killed too.
            let moment = (depth == 0 || (depth + 1 < DEPTH_MAX && random.below(2) == 0))
                .then(|| Moment::draw(random, way.time));
            let end = once_unlocked(|| {
                let mut command = if depth == 0 {
                    way.pack(&way.input, &target)
                } else {
                    let mut resume = ringpack(["resume", "-v", "--checkpoint-size", "512K"]);
                    resume.arg(&target);
                    resume
                };
                match moment {
                    Some(moment) => killed(&mut command, self.folder, moment),
                    None => End::of(support::run(&mut command)),
                }
            });
            let what = format!("{what}, {moment:?}");
            tally.note(self.folder, &way.expected, &end);
            self.check_target(way, has_old, &what);
            if !end.was_killed {
                *tally.depths.entry(depth).or_default() += 1;
                return self.finish(way, &end, claimed, tally, &what);
            }
            claimed = claimed.max(end.claimed);
        }
        unreachable!("the last run is left to end");
    }

    /// Packs a pipe, kills that after so many bytes, and sends all of it again.
    fn strike_pipe(&self, way: &Way, random: &mut Random, tally: &mut Tally) {
        self.clear(false);
        let target = self.folder.join(TARGET);
        let mut claimed = 0_f64;
        for depth in 0..DEPTH_MAX {
            let is_last = depth + 1 == DEPTH_MAX || (depth > 0 && random.below(2) == 0);
            let len = way.content.len();
            let sent = if is_last { len } else { random.below(len as u64) as usize };
            let waits = !is_last && sent > len / 2 && random.below(2) == 0;
            let end = once_unlocked(|| {
                let mut command = if depth == 0 {
                    way.pack(Path::new("-"), &target)
                } else {
                    let mut resume = ringpack(["resume", "-v", "--checkpoint-size", "512K"]);
                    resume.arg(&target);
                    resume
                };
                let mut running =
                    Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()));
                let mut stdin = running.child().stdin.take().expect("standard input is piped");
                // It is read as long as it is wanted.
                let _ = stdin.write_all(&way.content[..sent]);
                // Into a pipe it goes at once: some are killed only after a checkpoint.
                if waits {
                    until("there is a checkpoint", || {
                        self.folder.join(JOURNAL).exists()
                            || running.child().try_wait().unwrap().is_some()
                    });
                }
                if !is_last {
                    // It may have ended while it was waited for.
                    running.child().kill().expect("a child can be killed");
                }
                drop(stdin);
                End::of(running.end())
            });
            let what = format!("a pipe, {:?}, run {depth}, {sent} bytes sent", way.args);
            tally.note(self.folder, &way.expected, &end);
            self.check_target(way, false, &what);
            if !end.was_killed {
                *tally.depths.entry(depth).or_default() += 1;
                return self.finish(way, &end, claimed, tally, &what);
            }
            claimed = claimed.max(end.claimed);
        }
        unreachable!("the last run is left to end");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills ({} after a checkpoint was said to be durable), {} runs ended, {} of them \
             having gone on; found after a kill: {:?}; kills of a job that ended: {:?}",
            self.kills, self.claimed, self.completed, self.resumed, self.phases, self.depths
        )
    }
}

fn seed() -> u64 {
    let seed = number("RINGPACK_SEED").unwrap_or(1);
    println!("RINGPACK_SEED={seed}");
    seed
}

/// The places that there are: a temporary folder, and file systems of their own.
fn mounts(test: &str) -> Vec<(&'static str, Mount)> {
    let kinds = [(FileSystem::Ext4, 128), (FileSystem::Xfs, 300), (FileSystem::Btrfs, 256)];
    let mounts = kinds.into_iter().filter_map(|(kind, mib)| {
        let mount = Mount::new(test, kind, mib)?;
        // What mkfs made there is in nobody's way, but is no leftover of ours.
        let _ = fs::remove_dir(mount.path().join("lost+found"));
        Some((kind.name(), mount))
    });
    mounts.collect()
}

/// Every way of packing by every backend.
fn ways(test: &str, folder: &Path) -> Vec<Way> {
    let ways = backends(test)
        .into_iter()
        .flat_map(|io| WAYS.map(|(args, len)| Way::new(folder, args, len, io)));
    ways.collect()
}

#[test]
fn files_packed_in_a_storm() {
    let test = "files_packed_in_a_storm";
    let kills = number("RINGPACK_KILLS").unwrap_or(KILLS);
    let mut random = Random(seed());
    let inputs = tempfile::tempdir().unwrap();
    let ways = ways(test, inputs.path());
    let here = tempfile::tempdir().unwrap();
    let mounts = mounts(test);
    let mut places = vec![Place { name: "a temporary folder", folder: here.path() }];
    places.extend(mounts.iter().map(|(name, mount)| Place { name, folder: mount.path() }));
    let mut all = Tally::default();
    let share = kills.div_ceil(places.len() as u64);
    for place in &places {
        let mut tally = Tally::default();
        while tally.kills < share {
            let way = &ways[random.below(ways.len() as u64) as usize];
            place.strike(way, &mut random, &mut tally);
        }
        println!("{}: {tally}", place.name);
        all.add(tally);
    }
    println!("in all: {all}");
    assert!(all.kills >= kills, "{all}");
    assert!(all.resumed > all.kills / 4 && all.claimed > all.kills / 8, "{all}");
    let hit = |phase| all.phases.contains_key(phase);
    assert!(hit("partial") && hit("partial and journal"), "{all}");
    assert!(hit("target") || hit("target and journal"), "{all}");
}

#[test]
fn pipes_packed_in_a_storm() {
    let test = "pipes_packed_in_a_storm";
    let kills = number("RINGPACK_KILLS").unwrap_or(PIPE_KILLS);
    let mut random = Random(seed());
    let inputs = tempfile::tempdir().unwrap();
    let ways = ways(test, inputs.path());
    let here = tempfile::tempdir().unwrap();
    let place = Place { name: "a temporary folder", folder: here.path() };
    let mut tally = Tally::default();
    while tally.kills < kills {
        let way = &ways[random.below(ways.len() as u64) as usize];
        place.strike_pipe(way, &mut random, &mut tally);
    }
    println!("pipes: {tally}");
    assert!(tally.resumed > tally.kills / 8 && tally.claimed > tally.kills / 8, "{tally}");
}
