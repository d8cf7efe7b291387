//! What was measured, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Spent;
use crate::pipeline::RunReport;

/// One thing that was measured, over all rounds.
///
/// ```
/// use ringpack::bench::Figure;
///
/// let figure = Figure { name: "read", bytes: 3 << 20, wall: vec![0.5, 0.4, 0.6], cpu: vec![] };
/// assert_eq!((figure.seconds(), figure.rate()), (0.5, 6_291_456.0));
/// ```
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Bytes a round moved: of content, but for `verify`, which reads those of the container.
    pub bytes: u64,
    /// Seconds that each round took.
    pub wall: Vec<f64>,
    /// Seconds of processor time, user and system, that each round took on all cores together.
    pub cpu: Vec<f64>,
}

impl Figure {
    /// The median of the rounds, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        median(&self.wall)
    }

    /// Processor time of the median round, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        median(&self.cpu)
    }

    /// Bytes a second in the median round.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / self.seconds()
    }

    /// The slowest and the fastest round, in bytes a second.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let slowest = self.wall.iter().copied().fold(0.0, f64::max);
        let fastest = self.wall.iter().copied().fold(f64::INFINITY, f64::min);
        (self.bytes as f64 / slowest, self.bytes as f64 / fastest)
    }
}

/// What holds a job back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Limit {
    /// Compressing or decompressing, on all cores.
    Codec,
    /// Reading from the device.
    Read,
    /// Writing to it.
    Write,
    /// Reading and writing at once.
    ReadAndWrite,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Codec => "the codec",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::ReadAndWrite => "reading and writing at once",
        })
    }
}

/// A job of the engine beside what the machine would let it do.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Job {
    /// What it is: `pack`, `unpack` or `verify`.
    pub name: &'static str,
    /// What would hold a perfect engine back.
    pub bottleneck: Limit,
    /// Seconds that this alone takes, in the median.
    pub limit_seconds: f64,
    /// How near to that the job comes: 1 is as fast as the bottleneck.
    pub reached: f64,
    /// Processor time of the job to that of the codec's own work for it; `None` for verifying,
    /// which has no codec's.
    pub cpu_to_codec: Option<f64>,
}

/// What measuring came to.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BenchReport {
    /// Bytes of content.
    pub content_size: u64,
    /// Bytes of the container that was made of it.
    pub file_size: u64,
    /// Bytes of a chunk.
    pub chunk_len: u64,
    /// Worker threads.
    pub threads: usize,
    /// Rounds that were measured.
    pub rounds: u32,
    /// Whether packing read and wrote past the page cache.
    pub direct: bool,
    /// Everything measured: the device's, the codec's, then the engine's.
    pub figures: Vec<Figure>,
    /// The engine's jobs beside their limits.
    pub jobs: Vec<Job>,
    /// Seconds from opening a container to having 4 KiB from its midst, in the median.
    pub range_seconds: f64,
    /// That to the time in which one core decodes one chunk.
    pub range_to_decode: f64,
    /// Counts and tier of packing, of the last round; kernel workers, the most of any.
    pub run: RunReport,
}

impl BenchReport {
    /// The figure of that name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

/// The order in which figures are reported.
const NAMES: [&str; 11] = [
    "write",
    "read",
    "copy",
    "encode",
    "encode, all cores",
    "decode",
    "decode, all cores",
    "pack",
    "unpack",
    "verify",
    "range",
];

/// What is taken while measuring.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<&'static str, Figure>);

/// Under what it was measured.
pub(super) struct Setting {
    pub(super) size: u64,
    pub(super) packed: u64,
    pub(super) ranges: u64,
    pub(super) chunk_len: u64,
    pub(super) threads: usize,
    pub(super) rounds: u32,
    pub(super) direct: bool,
    pub(super) run: RunReport,
}

impl Samples {
    pub(super) fn note(&mut self, name: &'static str, bytes: u64, spent: Spent) {
        let new = || Figure { name, bytes, wall: Vec::new(), cpu: Vec::new() };
        let figure = self.0.entry(name).or_insert_with(new);
        // A clock's step, so that nothing is ever divided by zero.
        figure.wall.push(spent.wall.max(Duration::from_nanos(1)).as_secs_f64());
        figure.cpu.push(spent.cpu.as_secs_f64());
    }

    /// Seconds in which `bytes` are moved at the rate of a figure.
    fn at_rate_of(&self, name: &str, bytes: u64) -> f64 {
        bytes as f64 / self.0[name].rate()
    }

    pub(super) fn report(mut self, setting: Setting) -> BenchReport {
        let Setting { size, packed, ranges, chunk_len, threads, rounds, direct, run } = setting;
        // As many bytes are read and written at once as the smaller side has.
        let both = self.at_rate_of("copy", size.min(packed));
        let (read_raw, write_raw) = (self.at_rate_of("read", size), self.at_rate_of("write", size));
        let (read_packed, write_packed) =
            (self.at_rate_of("read", packed), self.at_rate_of("write", packed));
        let encode = self.at_rate_of("encode, all cores", size);
        let decode = self.at_rate_of("decode, all cores", size);
        let cpu = |name: &str, bytes: u64| {
            let figure = &self.0[name];
            figure.cpu_seconds() * bytes as f64 / figure.bytes as f64
        };
        let jobs = vec![
            self.job(
                "pack",
                &[
                    (Limit::Codec, encode),
                    (Limit::Read, read_raw),
                    (Limit::Write, write_packed),
                    (Limit::ReadAndWrite, both),
                ],
                Some(cpu("encode", size)),
            ),
            self.job(
                "unpack",
                &[
                    (Limit::Codec, decode),
                    (Limit::Read, read_packed),
                    (Limit::Write, write_raw),
                    (Limit::ReadAndWrite, both),
                ],
                Some(cpu("decode", size)),
            ),
            self.job("verify", &[(Limit::Read, read_packed)], None),
        ];
        let range_seconds = self.0["range"].seconds() / ranges as f64;
        let range_to_decode = range_seconds / self.at_rate_of("decode", chunk_len.min(size));
        let figures = NAMES.iter().filter_map(|name| self.0.remove(name)).collect();
        BenchReport {
            content_size: size,
            file_size: packed,
            chunk_len,
            threads,
            rounds,
            direct,
            figures,
            jobs,
            range_seconds,
            range_to_decode,
            run,
        }
    }

    fn job(&self, name: &'static str, limits: &[(Limit, f64)], codec_cpu: Option<f64>) -> Job {
        let slowest = |a: (Limit, f64), b: &(Limit, f64)| if b.1 > a.1 { *b } else { a };
        let (bottleneck, limit_seconds) = limits.iter().fold(limits[0], slowest);
        let figure = &self.0[name];
        Job {
            name,
            bottleneck,
            limit_seconds,
            reached: limit_seconds / figure.seconds(),
            cpu_to_codec: codec_cpu.map(|codec| figure.cpu_seconds() / codec),
        }
    }
}

/// The middle one of some values, or the mean of the middle two; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 bytes of content in so many milliseconds each; packed to 500.
    fn report(millis: &[(&'static str, u64)]) -> BenchReport {
        let mut samples = Samples::default();
        for name in NAMES {
            let given = millis.iter().find(|(given, _)| *given == name);
            let wall = Duration::from_millis(given.map_or(1, |(_, millis)| *millis));
            let bytes = match name {
                "verify" => 500,
                "range" => 2,
                _ => 1000,
            };
            samples.note(name, bytes, Spent { wall, cpu: wall * 2 });
        }
        samples.report(Setting {
            size: 1000,
            packed: 500,
            ranges: 2,
            chunk_len: 100,
            threads: 2,
            rounds: 1,
            direct: true,
            run: RunReport::default(),
        })
    }

    fn job<'a>(report: &'a BenchReport, name: &str) -> &'a Job {
        report.jobs.iter().find(|job| job.name == name).unwrap()
    }

    #[test]
    fn the_bottleneck_is_what_takes_longest() {
        let about = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let slow_codec = report(&[("encode, all cores", 800), ("encode", 1000), ("pack", 1000)]);
        let pack = job(&slow_codec, "pack");
        assert_eq!(pack.bottleneck, Limit::Codec);
        assert!(about(pack.limit_seconds, 0.8) && about(pack.reached, 0.8));
        assert!(about(pack.cpu_to_codec.unwrap(), 1.0));
        let slow_reading = report(&[("read", 400), ("pack", 500), ("verify", 250)]);
        assert_eq!(job(&slow_reading, "pack").bottleneck, Limit::Read);
        // Half of the content's bytes, so half of the time.
        assert!(about(job(&slow_reading, "verify").reached, 0.8));
        let slow_writing = report(&[("write", 400), ("unpack", 800)]);
        assert_eq!(job(&slow_writing, "unpack").bottleneck, Limit::Write);
        assert!(about(job(&slow_writing, "unpack").reached, 0.5));
        let slow_both = report(&[("copy", 900)]);
        assert_eq!(job(&slow_both, "pack").bottleneck, Limit::ReadAndWrite);
        assert!(about(job(&slow_both, "pack").limit_seconds, 0.45));
    }

    #[test]
    fn a_range_is_held_against_the_decoding_of_one_chunk() {
        // A chunk is a tenth of the content: 20 ms; two ranges take 60.
        let report = report(&[("decode", 200), ("range", 60)]);
        assert!((report.range_to_decode - 1.5).abs() < 1e-9);
        assert_eq!(report.figure("decode").unwrap().seconds(), 0.2);
        assert!(report.figure("nothing").is_none());
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&[3.0, 1.0, 9.0, 4.0]), 3.5);
    }
}
