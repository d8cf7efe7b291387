//! Packing, unpacking and verifying one large file.

use std::io;

use ringpack_benches::memory::Held;

use crate::fio::{self, Way};
use crate::outcome::{Bound, Outcome, Unit};
use crate::setting::{CHUNK_LEN, IN, Setting};

/// The container that is packed.
const OUT: &str = "out.zst";

const MIB: f64 = 1_048_576.0;

/// Against the codec in memory on one core, times the cores; and against `zstd` with as many
/// threads.
pub(crate) fn pack(setting: &Setting, level: i32) -> io::Result<Vec<Outcome>> {
    let Setting { cores, .. } = *setting;
    let (job, flag) = (format!("pack -{level}"), format!("-{level}"));
    let of = |against: &str, bound, unit| Outcome::new(&job, against, bound, unit);
    let mut codec = of(&format!("codec in memory × {cores}"), Bound::AtLeast(0.95), Unit::Rate);
    let mut zstd = of(&format!("zstd {flag} -T{cores}"), Bound::AtLeast(1.6), Unit::Rate);
    let mut cpu = of("the codec's own processor time", Bound::AtMost(1.1), Unit::Seconds);
    let held = Held::read(&setting.place.path(IN), CHUNK_LEN)?;
    for _ in setting.rounds(&job) {
        let ours = setting.ringpack(&["pack", "-q", &flag], IN, OUT)?;
        let memory = held.compress(level)?;
        codec.pair(setting.rate(ours), memory.rate * cores as f64 / MIB);
        cpu.pair(ours.cpu, memory.cpu * setting.size as f64);
        let line = format!("zstd -q {flag} -T{cores} {IN} -o other && sync other");
        setting.against(&mut zstd, ours, "zstd", IN, &line)?;
    }
    setting.place.remove(&[OUT, "other"])?;
    Ok(vec![codec, zstd, cpu])
}

/// Against the device, `cp` and `dd`.
pub(crate) fn store(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let of = |against, bound| Outcome::new("pack --store", against, bound, Unit::Rate);
    let mut device = of("fio, one file to another, direct", Bound::AtLeast(0.9));
    let mut copy = of("cp and sync", Bound::AtLeast(3.0));
    let mut direct = of("dd direct", Bound::AtLeast(1.5));
    for _ in setting.rounds("pack --store") {
        let ours = setting.ringpack(&["pack", "-q", "--store"], IN, OUT)?;
        if let Some(fio) = fio::rate(setting, Way::Both(IN))? {
            device.pair(setting.rate(ours), fio / MIB);
        }
        let line = format!("cp --reflink=never {IN} other && sync other");
        setting.against(&mut copy, ours, "cp", IN, &line)?;
        let line =
            format!("dd if={IN} of=other bs=4M iflag=direct oflag=direct conv=fsync status=none");
        setting.against(&mut direct, ours, "dd", IN, &line)?;
    }
    setting.place.remove(&[OUT, "other"])?;
    Ok(vec![device, copy, direct])
}

/// Against the slower of the device's writing and the codec's decompressing; and `zstd -d`.
pub(crate) fn unpack(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let Setting { cores, .. } = *setting;
    let of = |against: &str, bound, unit| Outcome::new("unpack", against, bound, unit);
    let least = format!("the less of fio writing and decompressing in memory × {cores}");
    let mut limit = of(&least, Bound::AtLeast(0.9), Unit::Rate);
    let mut zstd = of("zstd -d and sync", Bound::AtLeast(2.5), Unit::Rate);
    let mut cpu = of("the codec's own processor time", Bound::AtMost(1.1), Unit::Seconds);
    setting.ringpack(&["pack", "-q", "-3"], IN, OUT)?;
    if setting.has("zstd") {
        setting.place.shell(&[IN], &["in.zst"], &format!("zstd -q -3 {IN} -o in.zst"))?;
    }
    let frames = Held::read(&setting.place.path(IN), CHUNK_LEN)?.frames(3)?;
    for _ in setting.rounds("unpack") {
        let ours = setting.ringpack(&["unpack", "-q"], OUT, "back")?;
        setting.place.remove(&["back"])?;
        let memory = frames.decompress()?;
        cpu.pair(ours.cpu, memory.cpu * setting.size as f64);
        if let Some(fio) = fio::rate(setting, Way::Write(setting.size))? {
            limit.pair(setting.rate(ours), fio.min(memory.rate * cores as f64) / MIB);
        }
        let line = "zstd -q -d in.zst -o other && sync other";
        setting.against(&mut zstd, ours, "zstd", OUT, line)?;
    }
    setting.place.remove(&[OUT, "in.zst", "other"])?;
    Ok(vec![limit, zstd, cpu])
}

/// Against the device's reading, of packed and of stored content.
pub(crate) fn verify(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for flag in ["-3", "--store"] {
        let job = format!("verify, of pack {flag}");
        let mut device = Outcome::new(&job, "fio reading", Bound::AtLeast(0.9), Unit::Rate);
        setting.ringpack(&["pack", "-q", flag], IN, OUT)?;
        let len = setting.place.len(OUT)? as f64;
        for _ in setting.rounds(&job) {
            let args = ["verify", "-q", OUT];
            let ours = setting.place.run(&[OUT], &[], &setting.ringpack, &args)?;
            if let Some(fio) = fio::rate(setting, Way::Read(OUT))? {
                device.pair(len / ours.wall / MIB, fio / MIB);
            }
        }
        outcomes.push(device);
    }
    setting.place.remove(&[OUT])?;
    Ok(outcomes)
}

/// With checkpoints at the default cadence, against none.
pub(crate) fn checkpoints(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let cadence = ringpack::Cadence::default().bytes;
    if setting.size <= cadence {
        eprintln!("checkpoints: none falls within {} MiB: use --size", setting.size >> 20);
    }
    let mut outcomes = Vec::new();
    for flag in ["-1", "--store"] {
        let job = format!("pack {flag}, checkpoints");
        let mut outcome = Outcome::new(&job, "none", Bound::AtMost(1.02), Unit::Seconds);
        for _ in setting.rounds(&job) {
            let ours = setting.ringpack(&["pack", "-q", flag], IN, OUT)?;
            let args = ["pack", "-q", flag, "--no-checkpoint"];
            outcome.pair(ours.wall, setting.ringpack(&args, IN, OUT)?.wall);
        }
        outcomes.push(outcome);
    }
    setting.place.remove(&[OUT])?;
    Ok(outcomes)
}
