//! An ML checkpoint: tensors of unequal length, written from several threads, with a manifest
//! that says where each stands; `model_checkpoint PATH STEP` replaces the checkpoint at PATH all at
//! once.
//!
//! With `model_checkpoint PATH STEP --die` it ends midway, as if killed, and the checkpoint before
//! stands as it was. Without STEP it says what is there, reading nothing but the manifest and one
//! tensor.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::{env, process, thread};

use ringpack::write::{AtWriter, ContainerWriter, WriteOptions};
use ringpack::{Codec, ContainerReader};

/// Bytes at the front that hold the manifest, padded with spaces.
const MANIFEST_LEN: u64 = 64 << 10;
const THREADS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [path] => show(path),
        [path, step] => write(path, step.parse()?, false),
        [path, step, die] if die == "--die" => write(path, step.parse()?, true),
        _ => Err("usage: model_checkpoint PATH [STEP [--die]]".into()),
    }
}

/// The layers of the model, and how many weights each has.
fn layers() -> Vec<(String, usize)> {
    let block = |i: usize| (format!("block.{i}.weight"), 40_000 + 7919 * i * i);
    let ends = [("embedding".to_owned(), 500_001), ("head".to_owned(), 3)];
    (0..20).map(block).chain(ends).collect()
}

/// The weights of a layer after a step of training.
fn weights(name: &str, count: usize, step: u32) -> Vec<u8> {
    let mut state =
        name.bytes().fold(step + 1, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state) / f64::from(u32::MAX)) as f32
    };
    std::iter::repeat_with(next).take(count).flat_map(f32::to_le_bytes).collect()
}

fn write(path: &str, step: u32, dies: bool) -> Result<(), Box<dyn Error>> {
    let mut end = MANIFEST_LEN;
    let mut manifest = format!("step {step}\n");
    let mut tensors = Vec::new();
    for (name, count) in layers() {
        let range = end..end + 4 * count as u64;
        manifest += &format!("{name} {} {}\n", range.start, range.end);
        end = range.end;
        tensors.push((name, count, range.start));
    }
    let pad = (MANIFEST_LEN as usize).checked_sub(manifest.len());
    manifest += &" ".repeat(pad.ok_or("the manifest is too long")?);
    let options =
        WriteOptions { codec: Codec::Zstd(1), chunk_log2: 18, replace: true, ..Default::default() };
    // Neighbouring tensors share a chunk: as many may be in part as there are tensors, and one.
    let writer = AtWriter::new(ContainerWriter::create(path, &options)?, tensors.len() + 1);
    writer.write_at(manifest.as_bytes(), 0)?;
    // Each thread has its share of the layers, as the workers of a cluster would.
    thread::scope(|scope| {
        let give = |share: usize| -> ringpack::Result<()> {
            for (name, count, offset) in tensors.iter().skip(share).step_by(THREADS) {
                if dies && name == "block.13.weight" {
                    eprintln!("dying at {name}");
                    process::abort();
                }
                writer.write_at(&weights(name, *count, step), *offset)?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..THREADS).map(|share| scope.spawn(move || give(share))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it doesn't panic"))
    })?;
    let report = writer.finish(end)?;
    println!("step {step}: {end} bytes of content in {}", report.header.file_size);
    show(path)
}

fn show(path: &str) -> Result<(), Box<dyn Error>> {
    let reader = ContainerReader::open(path)?;
    let manifest = String::from_utf8(reader.read_range(..MANIFEST_LEN)?)?;
    let mut lines = manifest.trim_end().lines();
    let step = lines.next().and_then(|line| line.strip_prefix("step ")).ok_or("no manifest")?;
    let mut tensors: BTreeMap<&str, Range<u64>> = BTreeMap::new();
    for line in lines {
        let [name, start, end] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not a line of a manifest: {line}").into());
        };
        tensors.insert(name, start.parse()?..end.parse()?);
    }
    for (name, count) in layers() {
        let range = tensors.get(name.as_str()).ok_or_else(|| format!("{name} is missing"))?;
        if reader.read_range(range.clone())? != weights(&name, count, step.parse()?) {
            return Err(format!("{name} is not what was trained").into());
        }
    }
    println!("step {step}: {} tensors as they were trained", tensors.len());
    Ok(())
}
