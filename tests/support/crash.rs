//! Crashes, and what must be left after each: the laboratory of `tests/crash.rs`.
//!
//! A [`Scenario`] is drawn from a seed: what is packed, with which options, on which kind of disk.
//! A [`Lab`] runs it, takes copies of the disk as a crash would leave it, holds each against what
//! was promised by then, and has a new run go on from it, which crashes too, up to three deep.
//!
//! ```text
//!   pack ──┬──┬──┬──► done                      each ┬ is a step; a copy is taken there:
//!          ▼  ▼  ▼                              power cut, kill, kill with stragglers
//!        left: old or new? checkpoint there?
//!          └─► resume ──┬──┬──► done: the bytes of the uninterrupted run, and after a power cut
//!                       ▼  ▼
//!                     left … └─► resume …
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpack::commit::Cadence;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{
    self, Codec, Input, Observer, PackOptions, PackReport, ResumeOptions, pack_scheduled,
    recorded_input, resume_scheduled,
};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::file::{Attributes, Disk};
use ringpack::ring::sim::{SimDisk, SimOptions};
use ringpack::unpack::{self, UnpackOptions, unpack_scheduled};
use ringpack::{Cancel, Result};

use crate::Random;
use crate::watched::{Step, WatchedDisk};

/// The target.
pub const OUT: &str = "/out";
/// Its partial file.
pub const PARTIAL: &str = "/out.ringpack-partial";
/// Its journal.
pub const JOURNAL: &str = "/out.ringpack-journal";
/// A journal that is to take the other's place.
pub const NEW_JOURNAL: &str = "/out.ringpack-rewrite";
/// What stands under the target's name where a scenario replaces it.
pub const OLD: &[u8] = b"what stood there before";
/// The mode of the input, and so of the target.
pub const MODE: u32 = 0o640;

const CHUNK: usize = 1 << 16;
const EIO: i32 = 5;

/// A job and its world.
#[derive(Clone)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// How to pack.
    pub options: PackOptions,
    /// Inline workers.
    pub workers: usize,
    /// The kind of disk.
    pub world: SimOptions,
    /// Where the input stands.
    pub input: PathBuf,
    /// What is packed.
    pub content: Arc<Vec<u8>>,
    /// The container that the uninterrupted run makes.
    pub expected: Arc<Vec<u8>>,
}

impl fmt::Debug for Scenario {
    /// The whole recipe, but for the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("seed", &self.seed)
            .field("options", &self.options)
            .field("workers", &self.workers)
            .field("world", &self.world)
            .field("input_path_len", &self.input.as_os_str().len())
            .field("content_len", &self.content.len())
            .field("expected_len", &self.expected.len())
            .finish()
    }
}

/// Content that is quickly made and packed: a little noise in each chunk, so that no two are the
/// same.
#[must_use]
pub fn cheap_content(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(len + CHUNK);
    while bytes.len() < len {
        let noise = random.below(9000) as usize;
        bytes.extend((0..noise / 8).flat_map(|_| random.next().to_le_bytes()));
        let left = CHUNK - bytes.len() % CHUNK;
        bytes.resize(bytes.len() + left, random.next() as u8);
    }
    bytes.truncate(len);
    bytes
}

/// Options that take a checkpoint each `bytes`, whatever the clock says.
#[must_use]
pub fn often(bytes: u64) -> Cadence {
    Cadence { bytes, interval: Duration::MAX, percent_max: 100 }
}

impl Scenario {
    /// A scenario drawn by `seed`: of few or many extents, on a disk with any mixture of whims.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random(seed ^ 0xC4A5_4E5D);
        let mut coin = |one_in: u64| random.below(one_in) == 0;
        let slots = coin(3);
        let (store, blake3, replace) = (coin(6), coin(3), coin(2));
        let mut per_mille = |most: u64| if coin(2) { 0 } else { most };
        let most = (per_mille(300), per_mille(150), per_mille(150));
        let (reorder, direct, garbage) = (!coin(4), coin(2), coin(2));
        let (einval_direct, spools, long_path) = (coin(8), coin(4), coin(3));
        let whole_chunks = 2 + random.below(4) as usize;
        let tail = [0, 1, 1000, 40_000][random.below(4) as usize];
        // A path so long that the journal's records cross the border of a page.
        let path_len = if long_path { 3600 + random.below(480) as usize } else { 5 };
        let cadence = [1, 1, 100_000, 170_000][random.below(4) as usize];
        let options = PackOptions {
            codec: if store { Codec::Store } else { Codec::Zstd(1) },
            chunk_log2: Some(16),
            placement: if slots { PlacementKind::Slots } else { PlacementKind::Dense },
            extent_chunks: Some(if slots { 1 } else { 1 + random.below(2) as u16 }),
            blake3,
            replace,
            checkpoints: Some(often(cadence)),
            io: IoMode::Sim,
            spool_memory: if spools { 300 } else { 8 << 20 },
            ..PackOptions::default()
        };
        let world = SimOptions {
            short_per_mille: most.0 as u16,
            eintr_per_mille: most.1 as u16,
            eagain_per_mille: most.2 as u16,
            reorder,
            direct,
            garbage,
            einval_direct,
            ..SimOptions::PLAIN
        };
        let input = format!("/{}/in", "d".repeat(path_len));
        let workers = 1 + random.below(3) as usize;
        let content = cheap_content(whole_chunks * CHUNK + tail, seed);
        Self::new(seed, options, workers, world, input.into(), content)
    }

    /// A scenario; the container it must give is made on a disk without whims, and held against
    /// the content.
    ///
    /// # Panics
    /// Where that fails.
    #[must_use]
    pub fn new(
        seed: u64,
        options: PackOptions,
        workers: usize,
        world: SimOptions,
        input: PathBuf,
        content: Vec<u8>,
    ) -> Self {
        let expected = expected(&options, &content);
        let (content, expected) = (Arc::new(content), Arc::new(expected));
        Self { seed, options, workers, world, input, content, expected }
    }

    /// The same with other options of packing, which decide no byte.
    #[must_use]
    pub fn with(self, change: impl FnOnce(&mut PackOptions)) -> Self {
        let mut options = self.options.clone();
        change(&mut options);
        Self { options, ..self }
    }

    /// A disk with the input, and the old target if there is one.
    #[must_use]
    pub fn disk(&self) -> SimDisk {
        self.disk_with(self.world)
    }

    /// The same with other options.
    ///
    /// # Panics
    /// Never on a disk without faults.
    #[must_use]
    pub fn disk_with(&self, world: SimOptions) -> SimDisk {
        let disk = SimDisk::new(self.seed, world);
        disk.write_file(&self.input, &self.content);
        if self.options.replace {
            disk.write_file(OUT, OLD);
        }
        set_attributes(&disk, &self.input, MODE, None);
        disk
    }

    /// Whether the target is what it was before the job.
    #[must_use]
    pub fn is_old(&self, disk: &SimDisk) -> bool {
        disk.read_file(OUT).as_deref() == self.options.replace.then_some(OLD)
    }

    /// Whether the target is the whole new file.
    #[must_use]
    pub fn is_new(&self, disk: &SimDisk) -> bool {
        disk.holds(OUT, &self.expected)
    }

    fn schedule(&self) -> Schedule {
        Schedule::Inline(self.workers)
    }
}

/// Sets a file's mode, and its time if asked, durably.
///
/// # Panics
/// Where the file isn't there.
pub fn set_attributes(
    disk: &SimDisk,
    path: &Path,
    mode: u32,
    modified: Option<std::time::SystemTime>,
) {
    let directory = disk.directory(path.parent().expect("a file's path")).expect("its folder");
    let name = path.file_name().expect("a file's path");
    let file = directory.open_existing(name, false).expect("the file");
    file.set_attributes(&Attributes { mode, owner: None, modified }).expect("its attributes");
    file.sync_all().expect("its sync");
}

fn expected(options: &PackOptions, content: &[u8]) -> Vec<u8> {
    let disk = SimDisk::new(0, SimOptions::PLAIN);
    disk.write_file("/plain", content);
    let plain = PackOptions { checkpoints: None, replace: false, ..options.clone() };
    let (from, to) = (Input::Path("/plain".into()), pack::Output::Path("/packed".into()));
    let (cancel, schedule) = (Cancel::new(), Schedule::Inline(1));
    pack_scheduled(&disk, from, to, &plain, &cancel, &schedule).expect("a plain run");
    let to = unpack::Output::Path("/unpacked".into());
    let back = UnpackOptions { io: IoMode::Sim, ..UnpackOptions::default() };
    unpack_scheduled(&disk, Path::new("/packed"), to, &back, &cancel, &schedule)
        .expect("it can be unpacked");
    assert!(disk.holds("/unpacked", content), "other content");
    disk.read_file("/packed").expect("the container")
}

/// How a run is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// As if nothing was there.
    Fresh,
    /// With `resume` in the options of packing.
    Pack,
    /// By the target alone; everything else is in the journal.
    Resume,
}

/// What was promised: bytes that a reported checkpoint covers.
#[derive(Clone, Debug, Default)]
pub struct Promise(Arc<AtomicU64>);

impl Promise {
    /// So many bytes.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// How many.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// A disk after a crash, with what was promised until then.
#[derive(Clone, Debug)]
pub struct Left {
    /// The disk.
    pub disk: SimDisk,
    /// Bytes that a reported checkpoint covers.
    pub promised: u64,
    /// What happened, for people.
    pub what: String,
}

/// How a run came to its end.
#[derive(Debug)]
pub struct Ended {
    /// How it was started.
    pub way: Way,
    /// What it returned.
    pub result: Result<PackReport>,
    /// Steps it took.
    pub steps: usize,
}

/// Counts crashes, and holds what they leave against the promises.
#[derive(Debug)]
pub struct Lab {
    test: &'static str,
    begun: Instant,
    crashes: AtomicU64,
    resumed: AtomicU64,
    stragglers: AtomicU64,
    /// Crashes of runs that went on after a crash, by depth.
    deep: [AtomicU64; 4],
}

impl Lab {
    /// A laboratory that has seen nothing.
    #[must_use]
    pub fn new(test: &'static str) -> Self {
        let zero = AtomicU64::default;
        Self {
            test,
            begun: Instant::now(),
            crashes: zero(),
            resumed: zero(),
            stragglers: zero(),
            deep: [zero(), zero(), zero(), zero()],
        }
    }

    /// Says how much was done. It is no less than it was: `least` crashes at the usual scale.
    ///
    /// # Panics
    /// Where it is less.
    pub fn done(&self, least: u64) {
        let get = |count: &AtomicU64| count.load(SeqCst);
        let (crashes, resumed) = (get(&self.crashes), get(&self.resumed));
        eprintln!(
            "{}: {crashes} crashes, each with a recovery ({resumed} from a checkpoint, {} with \
             stragglers; by depth {:?}) in {:.1} s",
            self.test,
            get(&self.stragglers),
            self.deep.iter().map(get).collect::<Vec<_>>(),
            self.begun.elapsed().as_secs_f64()
        );
        // Fewer seeds than usual are too few for an average.
        if std::env::var_os("RINGPACK_SEED").is_none() && scale() >= 1.0 {
            let least = (least as f64 * scale()) as u64;
            assert!(crashes >= least, "{}: {crashes} crashes are fewer than {least}", self.test);
            assert!(resumed * 3 >= crashes, "{}: few had a checkpoint", self.test);
        }
    }

    /// Runs the job on `disk`, with `look` called before each step.
    pub fn run(
        &self,
        scenario: &Scenario,
        disk: &SimDisk,
        way: Way,
        promise: &Promise,
        look: impl Fn(&SimDisk, usize) + Send + Sync + 'static,
    ) -> Ended {
        self.run_until(scenario, disk, way, promise, &Cancel::new(), look)
    }

    /// The same, for a job that may be stopped.
    pub fn run_until(
        &self,
        scenario: &Scenario,
        disk: &SimDisk,
        way: Way,
        promise: &Promise,
        cancel: &Cancel,
        look: impl Fn(&SimDisk, usize) + Send + Sync + 'static,
    ) -> Ended {
        let steps = Arc::new(AtomicUsize::new(0));
        let (looked_at, counted) = (disk.clone(), Arc::clone(&steps));
        let watched = WatchedDisk::new(disk.clone(), move |_: Step| {
            // Cleaning up after a look that failed is no step of the job.
            if !std::thread::panicking() {
                look(&looked_at, counted.fetch_add(1, SeqCst) + 1);
            }
        });
        let (reported, told) = (disk.clone(), promise.clone());
        let observer = Observer::new(move |checkpoint| {
            // Nothing is acknowledged after an error: that is P5.
            let failed = first_failure(&reported.trace());
            assert_eq!(failed, None, "a checkpoint is reported after a failure");
            told.0.fetch_max(checkpoint.bytes, SeqCst);
        });
        let PackOptions { replace, checkpoints, io, spool_memory, direct, .. } = scenario.options;
        // A target that was published by now was not to be replaced, but is the same anyway.
        let replace = replace || scenario.is_new(disk);
        let schedule = scenario.schedule();
        let result = if way == Way::Resume {
            let expected = scenario.options.expected.clone();
            let options = ResumeOptions {
                replace,
                checkpoints,
                expected,
                observer,
                io,
                direct,
                spool_memory,
                ..ResumeOptions::default()
            };
            let mut input = |open: &_| recorded_input(open);
            resume_scheduled(&watched, Path::new(OUT), &mut input, &options, cancel, &schedule)
        } else {
            let resume = way == Way::Pack;
            let options = PackOptions { resume, observer, replace, ..scenario.options.clone() };
            let (from, to) = (Input::Path(scenario.input.clone()), pack::Output::Path(OUT.into()));
            pack_scheduled(&watched, from, to, &options, cancel, &schedule)
        };
        Ended { way, result, steps: steps.load(SeqCst) }
    }

    /// What a crash of each kind at each step of a run from nothing leaves: `power_cuts` of them,
    /// and two kills.
    ///
    /// # Panics
    /// Where the run fails, or what it made isn't durable.
    pub fn crash_at_each_step(&self, scenario: &Scenario, power_cuts: u64) -> Vec<Left> {
        let disk = scenario.disk();
        self.crash_each_step_of(scenario, &disk, Way::Fresh, Promise::default(), power_cuts, "")
    }

    /// The same for a run that is started on `disk`.
    ///
    /// # Panics
    /// As there.
    pub fn crash_each_step_of(
        &self,
        scenario: &Scenario,
        disk: &SimDisk,
        way: Way,
        promise: Promise,
        power_cuts: u64,
        before: &str,
    ) -> Vec<Left> {
        let lefts = Arc::new(Mutex::new(Vec::new()));
        let (kept, seen) = (Arc::clone(&lefts), promise.clone());
        let (seed, before_it) = (scenario.seed, before.to_owned());
        let ended = self.run(scenario, disk, way, &promise, move |disk, step| {
            let mut lefts = kept.lock().expect("nobody panics with it");
            let promised = seen.bytes();
            let mut keep = |disk, how: String| {
                let what = format!("{before_it}{how} at step {step}");
                lefts.push(Left { disk, promised, what });
            };
            for cut in 0..power_cuts {
                let cut = seed.wrapping_mul(0x1_0001) ^ (step as u64) << 8 ^ cut;
                keep(disk.crash(cut), format!("power cut {cut}"));
            }
            keep(disk.killed(), "kill".to_owned());
            // Where something is in flight, which it rarely is, a few orders of landing.
            for order in 0..6 {
                let cut = seed.wrapping_mul(7) ^ (step as u64) << 8 ^ order;
                let left = disk.killed_with_stragglers(cut);
                if order == 0 || left.stragglers() > 0 {
                    keep(left, format!("kill with stragglers {cut}"));
                }
            }
        });
        let what = format!("{before}uninterrupted");
        let report = ended.result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let resumed = report.resumed.map_or(0, |resumed| resumed.adopted_bytes);
        if way == Way::Fresh {
            assert_eq!(report.resumed, None, "{what}");
            assert_eq!(resumed, 0, "{what}");
        }
        self.check_done(scenario, disk, seed, &what);
        std::mem::take(&mut *lefts.lock().expect("nobody panics with it"))
    }

    /// Goes on from what a crash left, which must succeed with the bytes of the uninterrupted run;
    /// and crashes that run, up to three deep.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn go_on(&self, scenario: &Scenario, left: Left, random: &mut Random) {
        self.go_on_deep(scenario, left, 0, random);
    }

    fn go_on_deep(&self, scenario: &Scenario, left: Left, depth: usize, random: &mut Random) {
        let Left { disk, promised, what } = left;
        self.crashes.fetch_add(1, SeqCst);
        self.deep[depth].fetch_add(1, SeqCst);
        check_left(scenario, &disk, &what);
        let is_new = scenario.is_new(&disk);
        let way = match random.below(8) {
            // A checkpoint may be there or not: this one takes it if it is.
            _ if is_new || (promised == 0 && depth > 0) => Way::Pack,
            0 if promised == 0 => Way::Fresh,
            _ if promised == 0 => Way::Pack,
            0..3 => Way::Pack,
            _ => Way::Resume,
        };
        let what = format!("{what}, promised {promised}, {way:?}");
        let promise = Promise::of(promised);
        let stragglers = disk.stragglers();
        self.stragglers.fetch_add(u64::from(stragglers > 0), SeqCst);
        let at = if depth < 3 { random.below(160) as usize } else { usize::MAX };
        let (kind, cut) = (random.below(4), random.next());
        let caught: Arc<Mutex<Option<Left>>> = Arc::default();
        let (keep, seen, told) = (Arc::clone(&caught), promise.clone(), what.clone());
        let ended = self.run(scenario, &disk, way, &promise, move |disk, step| {
            // J5: what comes before the lock looks at names, and reads nothing.
            assert!(
                disk.stragglers() == 0 || disk.reads() == 0,
                "{told}: something is read while writes of the dead are in flight"
            );
            if step == at {
                let (disk, how) = match kind {
                    0 => (disk.killed(), "kill".to_owned()),
                    1 => (disk.killed_with_stragglers(cut), format!("kill, stragglers {cut}")),
                    _ => (disk.crash(cut), format!("power cut {cut}")),
                };
                let what = format!("{told}, {how} at step {step}");
                let promised = seen.bytes();
                *keep.lock().expect("nobody panics with it") = Some(Left { disk, promised, what });
            }
        });
        let report = ended.result.unwrap_or_else(|error| panic!("{what}: {error}"));
        if way != Way::Fresh && !is_new {
            self.check_adopted(&report, promised, &what);
        }
        if stragglers > 0 {
            check_fenced(&disk, &what);
        }
        self.check_done(scenario, &disk, cut, &what);
        let caught = caught.lock().expect("nobody panics with it").take();
        if let Some(left) = caught {
            self.go_on_deep(scenario, left, depth + 1, random);
        }
    }

    /// What was promised is adopted, and what a checkpoint names is there: P3 and P4.
    fn check_adopted(&self, report: &PackReport, promised: u64, what: &str) {
        let resumed = report.resumed;
        let adopted = resumed.map_or(0, |resumed| resumed.adopted_bytes);
        assert!(adopted >= promised, "{what}: P3: {adopted} bytes are adopted");
        if let Some(resumed) = resumed {
            self.resumed.fetch_add(1, SeqCst);
            assert_eq!(resumed.covered_bytes, adopted, "{what}: P4: {:?}", report.run.warnings);
        }
        let anew = report.run.warnings.iter().any(|warning| warning.contains("written anew"));
        assert!(!anew, "{what}: P4: {:?}", report.run.warnings);
    }

    /// Of P1 and P2: the new file is there with its attributes, and nothing else; after a power
    /// cut too, which may leave the journal.
    ///
    /// # Panics
    /// Where it isn't.
    pub fn check_done(&self, scenario: &Scenario, disk: &SimDisk, seed: u64, what: &str) {
        assert_eq!(disk.names("/"), ["out"], "{what}: names");
        assert!(scenario.is_new(disk), "{what}: other bytes than the uninterrupted run's");
        let left = disk.crash(seed);
        assert!(scenario.is_new(&left), "{what}: P2: a power cut {seed} takes it back");
        let known = ["out", "out.ringpack-journal"];
        let names = left.names("/");
        assert!(names.iter().all(|name| known.iter().any(|known| name == known)), "{names:?}");
        assert_eq!(mode(&left, OUT), Some(MODE), "{what}: P2: its mode");
    }
}

/// Whether a call in a disk's trace is a sync.
#[must_use]
pub fn is_sync(call: &str) -> bool {
    call.starts_with("sync")
}

/// The first call of a run that failed and counts, by its place in the disk's trace. Whims that a
/// job gets over don't count, nor does the sync with which a run that goes on begins: it takes an
/// error of the run before off the partial file, and what is adopted is read back after it.
#[must_use]
pub fn first_failure(trace: &[String]) -> Option<usize> {
    let end = format!(" errno {EIO}");
    let on_partial = |call: &String| {
        ["sync", "write"].iter().any(|what| call.starts_with(what)) && call.contains(&PARTIAL[1..])
    };
    let is_first_sync = |&at: &usize| trace[at].starts_with("sync_data");
    let first = trace.iter().position(on_partial).filter(is_first_sync);
    (0..trace.len()).find(|&at| trace[at].ends_with(&end) && Some(at) != first)
}

/// The mode of a file in the root folder.
///
/// # Panics
/// Where the folder can't be looked at.
#[must_use]
pub fn mode(disk: &SimDisk, path: &str) -> Option<u32> {
    let root = disk.directory(Path::new("/")).expect("the root is there");
    let name = Path::new(path).file_name().expect("a file's path");
    root.status(name).expect("it can be looked at").map(|status| status.mode & 0o7777)
}

/// What P1 and P8 say of every disk that a crash leaves.
///
/// # Panics
/// Where it doesn't.
pub fn check_left(scenario: &Scenario, disk: &SimDisk, what: &str) {
    let names = disk.names("/");
    assert!(
        scenario.is_new(disk) || scenario.is_old(disk),
        "{what}: P1: neither old nor new: {names:?}"
    );
    let known = [OUT, PARTIAL, JOURNAL, NEW_JOURNAL];
    let is_known = |name: &std::ffi::OsString| known.iter().any(|known| known[1..] == **name);
    assert!(names.iter().all(is_known), "{what}: {names:?}");
    if disk.stragglers() > 0 {
        // To look is to let them land.
        return;
    }
    for journal in [JOURNAL, NEW_JOURNAL] {
        let mode = mode(disk, journal);
        assert!(mode.is_none_or(|mode| mode == 0o600), "{what}: P8: journal {mode:?}");
    }
    let mode = mode(disk, PARTIAL);
    assert!(matches!(mode, None | Some(0o600 | MODE)), "{what}: P8: partial {mode:?}");
}

/// What P9 says of the dead: once a run has changed anything, nothing of its predecessor lands any
/// more in the file that it goes on with.
fn check_fenced(disk: &SimDisk, what: &str) {
    let trace = disk.trace();
    let harmless = ["straggler", "sync /"];
    let changes = |call: &String| {
        !harmless.iter().any(|start| call.starts_with(start)) && !call.contains(" errno ")
    };
    let first = trace.iter().position(changes).unwrap_or(0);
    let late = trace[first..].iter().find(|call| call.starts_with("straggler out"));
    assert_eq!(late, None, "{what}: P9: it landed beside a live writer");
    assert_eq!(disk.stragglers(), 0, "{what}: P9: some are still to land");
}

/// How many times the usual number is asked for, by `RINGPACK_CRASHES`.
///
/// # Panics
/// Where that is no number.
#[must_use]
pub fn scale() -> f64 {
    std::env::var("RINGPACK_CRASHES")
        .map_or(1.0, |scale| scale.parse().expect("RINGPACK_CRASHES is a factor"))
}

/// Runs `check` for each seed of `count` from `first`, scaled, or for `RINGPACK_SEED` alone; one
/// that fails is named, with its whole recipe.
///
/// # Panics
/// Where `RINGPACK_SEED` is no number.
pub fn each_scenario(first: u64, count: u64, check: impl Fn(&Scenario)) {
    struct Told<'a>(&'a Scenario);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let scenario = self.0;
                eprintln!("RINGPACK_SEED={} runs it alone: {scenario:#?}", scenario.seed);
            }
        }
    }
    let seeds = match std::env::var("RINGPACK_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGPACK_SEED is a number")],
        // What goes beyond the usual number is drawn from elsewhere.
        Err(_) => (0..(count as f64 * scale()).ceil() as u64)
            .map(|i| if i < count { first + i } else { first + i + 1_000_000 })
            .collect(),
    };
    for seed in seeds {
        let scenario = Scenario::drawn(seed);
        let told = Told(&scenario);
        check(told.0);
    }
}
