//! A downloader: several connections fetch ranges that arrive out of order, some of them break, and
//! what arrived before an interruption isn't fetched again: `parallel_download PATH [MOST]`.
//!
//! The server is a thread of this very program: HTTP/1.1 with ranges, slow at random, and apt to
//! hang up midway. After MOST ranges the program takes a checkpoint and ends as if killed; called
//! again it fetches what is missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use std::{env, io, process, thread};

use ringpack::write::{ContainerWriter, WriteOptions};
use ringpack::{Cadence, ContainerReader};

const RANGE_LEN: u64 = 1 << 20;
/// Length of what is fetched, in bytes: the last range is short.
const LEN: u64 = 40 * RANGE_LEN + 12_345;
const CONNECTIONS: usize = 6;
const TRIES_MAX: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (path, most) = match &args[..] {
        [path] => (path, u64::MAX),
        [path, most] => (path, most.parse()?),
        _ => return Err("usage: parallel_download PATH [MOST]".into()),
    };
    let server = serve()?;
    let cadence =
        Cadence { bytes: 4 * RANGE_LEN, interval: Duration::from_secs(1), percent_max: 100 };
    let (checkpoints, expected_size) = (Some(cadence), Some(LEN));
    let options = WriteOptions { checkpoints, expected_size, ..WriteOptions::default() };
    let writer = ContainerWriter::reopen_or_create(path, &options)?;
    let wanted: Vec<u64> = writer.missing(0..LEN.div_ceil(RANGE_LEN)).collect();
    println!("{} ranges are there, {} to fetch", writer.given(), wanted.len());
    let (next, fetched) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<(), String> {
        while let Some(&range) = wanted.get(next.fetch_add(1, SeqCst) as usize) {
            let bytes = fetch(server, range)?;
            writer.write_chunk(range, &bytes).map_err(|error| error.to_string())?;
            if fetched.fetch_add(1, SeqCst) + 1 == most {
                writer.checkpoint().map_err(|error| error.to_string())?;
                process::abort();
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it doesn't panic"))
    })?;
    writer.finalize(None)?;
    let reader = ContainerReader::open(path)?;
    for chunk in reader.chunks() {
        if chunk.read()? != content(chunk.sequence()) {
            return Err(format!("range {} is not what was served", chunk.sequence()).into());
        }
    }
    println!("{} bytes are as they were served", reader.len());
    Ok(())
}

/// What the server has in a range.
fn content(range: u64) -> Vec<u8> {
    let len = RANGE_LEN.min(LEN - range * RANGE_LEN);
    (0..len).map(|at| ((at * (range + 3)) >> 7) as u8).collect()
}

/// Fetches a range, on one connection after the other until one holds.
fn fetch(server: SocketAddr, range: u64) -> Result<Vec<u8>, String> {
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        match try_fetch(server, range) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("range {range} can't be fetched: {last}"))
}

fn try_fetch(server: SocketAddr, range: u64) -> io::Result<Vec<u8>> {
    let (first, last) = (range * RANGE_LEN, ((range + 1) * RANGE_LEN).min(LEN) - 1);
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: server\r\nRange: bytes={first}-{last}\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader)?;
    if !head.starts_with("HTTP/1.1 206 ") {
        return Err(io::Error::other(format!("unexpected answer: {head}")));
    }
    let mut bytes = vec![0; (last - first + 1) as usize];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The lines up to the empty one.
fn head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for (number, stream) in (0_u64..).zip(listener.incoming().flatten()) {
            thread::spawn(move || answer(stream, number));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, number: u64) -> io::Result<()> {
    let head = head(&mut BufReader::new(stream.try_clone()?))?;
    let bytes = head.lines().find_map(|line| line.strip_prefix("Range: bytes="));
    let first = bytes.and_then(|range| range.split('-').next()).and_then(|at| at.parse().ok());
    let Some(first) = first.filter(|first: &u64| first.is_multiple_of(RANGE_LEN) && *first < LEN)
    else {
        return stream.write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n");
    };
    let mut bytes = content(first / RANGE_LEN);
    // Whose turn comes when is a matter of chance, and so is who is hung up on.
    let chance = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    thread::sleep(Duration::from_millis(chance % 23));
    if chance.is_multiple_of(5) {
        bytes.truncate(bytes.len() / 2);
    }
    write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Length: {RANGE_LEN}\r\n\r\n")?;
    stream.write_all(&bytes)
}
