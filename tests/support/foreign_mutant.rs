//! Mutants of other programs' files: changed where their structure is, and anywhere else.
//!
//! The choices are a seed's or a fuzzer's; the same choices make the same mutant.

use std::process::{Command, Stdio};

use crate::foreign::{BARE, PLAIN, UNSIZED, frame, seekable, skippable};
use crate::mutant::{Choices, flip, number};
use crate::{content, has_tool, run_with_input, skip};

/// Longest mutant.
const LEN_MAX: usize = 64 << 10;
/// Where structure stands: magic numbers of frames, of skippable ones and of a seek table's end.
const MAGICS: [&[u8; 4]; 4] = [
    &[0x28, 0xB5, 0x2F, 0xFD],
    &[0x50, 0x2A, 0x4D, 0x18],
    &[0x5E, 0x2A, 0x4D, 0x18],
    &[0xB1, 0xEA, 0x92, 0x8F],
];

/// Files of some KiB to make mutants of: by zstd and pzstd in several ways, by the seekable
/// library, and of every shape that a frame may have. What is missing here is said.
#[must_use]
pub fn ancestors(test: &str) -> Vec<Vec<u8>> {
    let text = content(6000, 77);
    let mut files = vec![b"".to_vec(), frame(b"", PLAIN), skippable(0x184D_2A53, b"passed over")];
    for shape in [PLAIN, UNSIZED, BARE] {
        files.push(frame(&text, shape));
        files.push(seekable(&text, 1500, shape, true));
        files.push(seekable(&text, 3000, shape, false));
    }
    files.push([frame(&text, PLAIN), skippable(0x184D_2A50, b"x"), frame(&text, BARE)].concat());
    files.push(zeekstd(&text));
    for (program, flags) in [
        ("zstd", &["-cq"][..]),
        ("zstd", &["-cq", "-19", "--no-check"]),
        ("zstd", &["-cq", "--long=27", "--stream-size=6000"]),
        ("zstd", &["-cq", "--fast=5", "-B1"]),
        ("pzstd", &["-cq", "-p2"]),
    ] {
        if !has_tool(program) {
            skip(test, &format!("{program} is not here: no mutants of its files"));
            continue;
        }
        let packed = run_with_input(Command::new(program).args(flags).stderr(Stdio::null()), &text);
        assert!(packed.status.success(), "{program} {flags:?}");
        files.push(packed.stdout);
    }
    files
}

/// A seekable file by the reference's Rust port.
fn zeekstd(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let options = zeekstd::EncodeOptions::new()
        .frame_size_policy(zeekstd::FrameSizePolicy::Uncompressed(2000));
    let mut bytes = Vec::new();
    let mut encoder = options.into_encoder(&mut bytes).expect("an encoder");
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it");
    bytes
}

/// A place where structure is, if there is any: behind one of the magic numbers.
fn structure(random: &mut Choices, bytes: &[u8]) -> usize {
    let magic = MAGICS[random.below(4) as usize];
    let places: Vec<usize> =
        (0..bytes.len().saturating_sub(3)).filter(|&at| bytes[at..at + 4] == *magic).collect();
    match places.len() as u64 {
        0 => random.below(bytes.len() as u64 + 1) as usize,
        count => places[random.below(count) as usize],
    }
}

fn change(random: &mut Choices, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = structure(random, bytes).min(bytes.len());
    let near = bytes.len().min(at + 22);
    match random.below(12) {
        0 => flip(random, bytes),
        1 | 2 => flip(random, &mut bytes[at..near]),
        // A number of some length, somewhere in a frame's header.
        3..=5 => {
            let len = [1, 2, 3, 4, 8][random.below(5) as usize];
            let from = bytes.len().min(at + random.below(14) as usize);
            if let Some(field) = bytes.get_mut(from..from + len) {
                let mut old = [0; 8];
                old[..len].copy_from_slice(field);
                let new = number(random, u64::from_le_bytes(old)).to_le_bytes();
                field.copy_from_slice(&new[..len]);
            }
        }
        6 => bytes.truncate(at + random.below(30) as usize),
        7 => {
            bytes.drain(at..near);
        }
        8 => {
            let other = &others[random.below(others.len() as u64) as usize];
            let from = structure(random, other).min(other.len());
            let to = from + random.below((other.len() - from) as u64 + 1) as usize;
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        9 => {
            let (window, size) = (random.next() as u8, number(random, 0));
            let window = (window & 1 == 0).then_some(window);
            let lie = crate::foreign::stating(size, window, b"lie");
            bytes.splice(at..at, lie);
        }
        10 => bytes.extend_from_within(at..near),
        _ => {
            let from = random.below(bytes.len() as u64 + 1) as usize;
            let to = bytes.len().min(from + random.below(300) as usize);
            bytes[from..to].fill(random.next() as u8);
        }
    }
    bytes.truncate(LEN_MAX);
}

/// The mutant of these choices.
#[must_use]
pub fn of(random: &mut Choices, ancestors: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = ancestors[random.below(ancestors.len() as u64) as usize].clone();
    for _ in 0..1 + random.below(4) {
        change(random, &mut bytes, ancestors);
    }
    bytes
}
