//! `bench-zeekstd`: the zeekstd crate as a program, for the comparison with peers: compresses a
//! file in frames of 1 MiB, decompresses one, and reads a range of one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use zeekstd::{Decoder, EncodeOptions, FrameSizePolicy};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["compress", level, input, output] => compress(level, input, output),
        ["decompress", input, output] => decompress(input, output),
        ["range", input, start, len] => range(input, start, len),
        _ => {
            eprintln!(
                "usage: bench-zeekstd compress LEVEL IN OUT | decompress IN OUT | range IN START LEN"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-zeekstd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compress(level: &str, input: &str, output: &str) -> io::Result<()> {
    let options = EncodeOptions::new()
        .compression_level(level.parse().map_err(io::Error::other)?)
        .checksum_flag(true)
        .frame_size_policy(FrameSizePolicy::Uncompressed(1 << 20));
    let encoder = options.into_encoder(File::create(output)?);
    let mut encoder = encoder.map_err(io::Error::other)?;
    io::copy(&mut File::open(input)?, &mut encoder)?;
    encoder.finish().map(drop).map_err(io::Error::other)
}

fn decompress(input: &str, output: &str) -> io::Result<()> {
    let mut decoder = Decoder::new(File::open(input)?).map_err(io::Error::other)?;
    io::copy(&mut decoder, &mut File::create(output)?).map(drop)
}

fn range(input: &str, start: &str, len: &str) -> io::Result<()> {
    let start: u64 = start.parse().map_err(io::Error::other)?;
    let len: u64 = len.parse().map_err(io::Error::other)?;
    let mut decoder = Decoder::new(File::open(input)?).map_err(io::Error::other)?;
    decoder.set_offset(start).map_err(io::Error::other)?;
    decoder.set_offset_limit(start + len).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes)?;
    io::stdout().write_all(&bytes)
}
