//! The matrix of docs/INTEROPERABILITY.md: what each reader does with a container of each kind.
//!
//! [`ROWS`] has a row for each way of reading, with the outcome that is expected for each column of
//! the page. Every row is a test of its own. The outcome must be exactly that one: a reader that
//! gets better fails its test too, and the page is corrected. `the_page_says_the_same` compares
//! the page with the table.
//!
//! Two columns also have a plain file, with a frame of zstd for each chunk. A reader must do the
//! same with it: a limit that it shows there is its own, and not a fault of the container.
//!
//! Contents are small: `tests/interoperability.rs` has the sizes.

use std::fs;
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::foreign::{PLAIN, frame};
use support::{assert_same, content, has_tool, ringpack, run, skip, succeed};

use Outcome::{FirstChunk, NotTried, Refused, Whole};
use Read::{Each, Module};

/// What a reader makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The content, without an error.
    Whole,
    /// The content of the first chunk, without an error.
    FirstChunk,
    /// An error, whatever was read before it.
    Refused,
    /// The reader has no use for such a content.
    NotTried,
}

impl Outcome {
    /// How the page says it.
    fn word(self) -> &'static str {
        match self {
            Whole => "whole",
            FirstChunk => "first chunk",
            Refused => "error",
            NotTried => "–",
        }
    }
}

/// The columns of the page.
#[derive(Clone, Copy, Debug)]
enum Column {
    OneChunk,
    ManyChunks,
    Slots,
    Empty,
}

/// A file to read.
struct Kind {
    column: Column,
    what: &'static str,
    /// How ringpack packs it; nothing for the plain file of frames.
    args: &'static [&'static str],
    content_len: usize,
}

const fn kind(
    column: Column,
    what: &'static str,
    args: &'static [&'static str],
    content_len: usize,
) -> Kind {
    Kind { column, what, args, content_len }
}

const CHUNK: usize = 65_536;
/// More than the 64 chunks of an extent, so that a frame is filled, and a chunk that isn't full.
const MANY: usize = 70 * CHUNK + 64;

const KINDS: [Kind; 13] = [
    kind(Column::OneChunk, "level 3", &["-3"], 64_000),
    kind(Column::OneChunk, "stored", &["--store"], 64_000),
    kind(Column::OneChunk, "one byte", &["-3"], 1),
    kind(Column::OneChunk, "16 MiB, filled", &["-3", "--chunk-size", "16M"], 16 << 20),
    kind(Column::ManyChunks, "frames of zstd", &[], MANY),
    kind(Column::ManyChunks, "level 3", &["-3"], MANY),
    kind(Column::ManyChunks, "level 1, BLAKE3", &["-1", "--digest", "blake3"], MANY),
    kind(Column::ManyChunks, "level 19", &["-19"], 3 * CHUNK),
    kind(Column::ManyChunks, "stored", &["--store"], MANY),
    kind(Column::Slots, "level 3", &["-3", "--placement", "slots"], MANY),
    kind(Column::Slots, "stored", &["--store", "--placement", "slots"], MANY),
    kind(Column::Empty, "a frame of zstd", &[], 0),
    kind(Column::Empty, "level 3", &["-3"], 0),
];

/// What the content must be for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Anything.
    Bytes,
    /// A CSV of lines of 64 bytes.
    Lines,
    /// A container of a few KiB, so that a response comes in one piece.
    Small,
    /// A tar archive of one member; the reader gives the member.
    Archive,
    /// A seek table, so no plain file of frames.
    SeekTable,
    /// If of many chunks, then a file of more than 128 KiB.
    Long,
    /// A file of less.
    Short,
}

impl Needs {
    fn takes(self, kind: &Kind) -> bool {
        match self {
            Self::Bytes => true,
            Self::Lines => kind.content_len.is_multiple_of(64),
            Self::Small => !kind.args.contains(&"--store"),
            Self::Archive => kind.content_len > 0,
            Self::SeekTable => !kind.args.is_empty(),
            Self::Long => !kind.args.contains(&"-19"),
            Self::Short => kind.content_len <= 3 * CHUNK,
        }
    }

    fn content(self, len: usize) -> Vec<u8> {
        match self {
            Self::Lines => lines(len),
            Self::Small => {
                b"the same again and again\n".iter().copied().cycle().take(len).collect()
            }
            _ => content(len, len as u64),
        }
    }
}

/// Lines of 64 bytes, so that each chunk ends with one.
fn lines(len: usize) -> Vec<u8> {
    let noise = content(len, 9);
    let line = |(number, noise): (usize, &[u8])| {
        let word: String = noise.iter().take(54).map(|byte| char::from(b'a' + byte % 26)).collect();
        format!("{number:08}_{word:-<54}\n")
    };
    noise
        .chunks(64)
        .enumerate()
        .flat_map(|numbered| line(numbered).into_bytes())
        .take(len)
        .collect()
}

/// A file, and what a reader should give of it.
struct File {
    path: PathBuf,
    expected: PathBuf,
}

/// What a reader did.
enum Reading {
    Missing(String),
    Ended { content: Vec<u8>, error: Option<String> },
}

impl Reading {
    fn of<E: std::fmt::Debug>(content: Vec<u8>, result: Result<(), E>) -> Self {
        Self::Ended { content, error: result.err().map(|error| format!("{error:?}")) }
    }
}

/// How a file is read.
enum Read {
    /// One after the other.
    Each(fn(&File) -> Reading),
    /// All by one run of `tests/interop/streams.py`: some modules take a second to be imported.
    Module(&'static str),
}

struct Row {
    reader: &'static str,
    way: &'static str,
    needs: Needs,
    read: Read,
    /// In the order of [`Column`].
    outcomes: [Outcome; 4],
}

/// A table of tests, each with its row.
macro_rules! matrix {
    ($($test:ident: $reader:literal, $way:literal, $needs:ident, $read:expr,
        [$one:ident, $many:ident, $slots:ident, $empty:ident];)*) => {
        const ROWS: &[(&str, Row)] = &[$((stringify!($test), Row {
            reader: $reader,
            way: $way,
            needs: Needs::$needs,
            read: $read,
            outcomes: [$one, $many, $slots, $empty],
        })),*];
        $(
            #[test]
            fn $test() {
                check(stringify!($test));
            }
        )*
    };
}

matrix! {
    zstd: "zstd", "`zstd -d`", Bytes,
        Each(|file| tool("zstd", &["-dcq"], file)), [Whole, Whole, Whole, Whole];
    zstd_test: "zstd", "`zstd -t`, `zstd -l`", Bytes,
        Each(zstd_test_and_list), [Whole, Whole, Whole, Whole];
    pzstd: "pzstd", "`pzstd -d`", Bytes,
        Each(|file| tool("pzstd", &["-dcq"], file)), [Whole, Whole, Whole, Whole];
    bsdcat: "libarchive", "`bsdcat`", Bytes,
        Each(|file| tool("bsdcat", &[], file)), [Whole, Whole, Whole, Whole];
    seven_zip: "7-Zip", "`7zz x -so`", Bytes,
        Each(|file| tool("7zz", &["x", "-so"], file)), [Whole, Whole, Whole, Whole];
    curl: "curl", "`--compressed`, `Content-Encoding: zstd`", Bytes,
        Each(curl_from_a_server), [Whole, Whole, Whole, Whole];
    dpkg_deb: "dpkg-deb", "`data.tar.zst` of more than 128 KiB", Long,
        Each(dpkg_deb_data), [Whole, Refused, Refused, Whole];
    dpkg_deb_short: "dpkg-deb", "`data.tar.zst` of less", Short,
        Each(dpkg_deb_data), [Whole, FirstChunk, NotTried, Whole];
    tar_by_option: "GNU tar", "`tar --zstd -xf`", Archive,
        Each(|file| tool("tar", &["--zstd", "-xOf"], file)), [Whole, Whole, Whole, NotTried];
    tar_by_suffix: "GNU tar", "`tar -xf NAME.tar.zst`", Archive,
        Each(|file| tool("tar", &["-xOf"], file)), [Whole, Whole, Whole, NotTried];
    tar_by_magic: "GNU tar", "`tar -xf NAME`, by its first bytes", Archive,
        Each(|file| without_suffix("tar", &["-xOf"], file)), [Whole, Whole, Whole, NotTried];
    bsdtar: "libarchive", "`bsdtar -xf`", Archive,
        Each(|file| without_suffix("bsdtar", &["-xOf"], file)), [Whole, Whole, Whole, NotTried];

    seekable_reference: "reference seekable library", "`ZSTD_seekable_decompress`", SeekTable,
        Each(reference_library), [Whole, Whole, Whole, Whole];
    zeekstd: "zeekstd", "`Decoder`", SeekTable,
        Each(zeekstd_by_range), [Whole, Whole, Whole, Whole];
    pyzstd_seekable: "pyzstd", "`SeekableZstdFile`", SeekTable,
        Each(|file| ranges("pyzstd", file)), [Whole, Whole, Whole, Whole];
    indexed_zstd: "indexed_zstd", "`IndexedZstdFile`", SeekTable,
        Each(|file| ranges("indexed_zstd", file)), [Whole, Whole, Whole, Whole];

    zstd_crate: "zstd (crate)", "`decode_all`", Bytes,
        Each(|file| {
            let mut content = Vec::new();
            let ended = zstd::stream::copy_decode(&*bytes(file), &mut content);
            Reading::of(content, ended)
        }), [Whole, Whole, Whole, Whole];
    async_compression: "async-compression", "`ZstdDecoder`", Bytes,
        Each(|file| by_async_compression(file, false)), [Whole, FirstChunk, FirstChunk, Whole];
    async_compression_members: "async-compression", "`ZstdDecoder`, `multiple_members(true)`",
        Bytes,
        Each(|file| by_async_compression(file, true)), [Whole, Whole, Whole, Whole];
    ruzstd_streaming: "ruzstd", "`StreamingDecoder`", Bytes,
        Each(ruzstd_streaming_decoder), [Whole, FirstChunk, FirstChunk, Whole];
    ruzstd_decode_all: "ruzstd", "`FrameDecoder::decode_all`", Bytes,
        Each(ruzstd_frame_decoder), [Whole, Whole, Whole, Whole];

    zstandard_decompress: "python-zstandard", "`ZstdDecompressor.decompress`", Bytes,
        Module("zstandard.decompress"), [Whole, FirstChunk, FirstChunk, Whole];
    zstandard_stream_reader: "python-zstandard", "`stream_reader`", Bytes,
        Module("zstandard.stream_reader"), [Whole, Whole, Whole, Whole];
    zstandard_stream_reader_across: "python-zstandard", "`stream_reader`, `read_across_frames`",
        Bytes,
        Module("zstandard.stream_reader_across"), [Whole, Whole, Whole, Whole];
    zstandard_open: "python-zstandard", "`open`", Bytes,
        Module("zstandard.open"), [Whole, Whole, Whole, Whole];
    zstandard_read_to_iter: "python-zstandard", "`read_to_iter`", Bytes,
        Module("zstandard.read_to_iter"), [Whole, FirstChunk, FirstChunk, Whole];
    zstandard_decompressobj: "python-zstandard", "`decompressobj`", Bytes,
        Module("zstandard.decompressobj"), [Whole, FirstChunk, FirstChunk, Whole];
    zstandard_decompressobj_across: "python-zstandard", "`decompressobj`, `read_across_frames`",
        Bytes,
        Module("zstandard.decompressobj_across"), [Whole, Whole, Whole, Whole];
    zstandard_copy_stream: "python-zstandard", "`copy_stream`", Bytes,
        Module("zstandard.copy_stream"), [Whole, Whole, Whole, Whole];
    zstd_of_pypi: "zstd (PyPI)", "`decompress`", Bytes,
        Module("zstd.decompress"), [Whole, Whole, Whole, Whole];
    pyzstd_decompress: "pyzstd", "`decompress`", Bytes,
        Module("pyzstd.decompress"), [Whole, Whole, Whole, Whole];
    pyzstd_open: "pyzstd", "`open`", Bytes,
        Module("pyzstd.open"), [Whole, Whole, Whole, Whole];
    pyzstd_decompressor: "pyzstd", "`ZstdDecompressor`", Bytes,
        Module("pyzstd.ZstdDecompressor"), [Whole, FirstChunk, FirstChunk, Whole];
    pyzstd_endless: "pyzstd", "`EndlessZstdDecompressor`", Bytes,
        Module("pyzstd.EndlessZstdDecompressor"), [Whole, Whole, Whole, Whole];
    backports_decompress: "backports.zstd", "`decompress`", Bytes,
        Module("backports.zstd.decompress"), [Whole, Whole, Whole, Whole];
    backports_open: "backports.zstd", "`open`", Bytes,
        Module("backports.zstd.open"), [Whole, Whole, Whole, Whole];
    backports_decompressor: "backports.zstd", "`ZstdDecompressor`", Bytes,
        Module("backports.zstd.ZstdDecompressor"), [Whole, FirstChunk, FirstChunk, Whole];
    pandas: "pandas", "`read_csv`", Lines,
        Module("pandas.read_csv"), [Whole, Whole, Whole, Refused];
    polars_scan: "polars", "`scan_csv`", Lines,
        Module("polars.scan_csv"), [Whole, Whole, Whole, Refused];
    polars_read: "polars", "`read_csv`", Lines,
        Module("polars.read_csv"), [Whole, Whole, Whole, Refused];
    duckdb: "duckdb", "`read_csv`", Lines,
        Module("duckdb.read_csv"), [Whole, Whole, Whole, Whole];
    pyarrow_csv: "pyarrow", "`csv.read_csv`", Lines,
        Module("pyarrow.read_csv"), [Whole, Whole, Whole, Refused];
    pyarrow_stream: "pyarrow", "`input_stream`", Bytes,
        Module("pyarrow.input_stream"), [Whole, Whole, Whole, Whole];

    node_sync: "Node", "`zlib.zstdDecompressSync`", Bytes,
        Each(|file| node("zlib.zstdDecompressSync", file)), [Whole, Whole, FirstChunk, Whole];
    node_stream: "Node", "`zlib.createZstdDecompress`", Bytes,
        Each(|file| node("zlib.createZstdDecompress", file)), [Whole, Whole, Refused, Whole];
    node_stream_cut: "Node", "the same, with a write that ends within a checksum", Bytes,
        Each(|file| node("zlib.createZstdDecompress.cut", file)),
        [Whole, FirstChunk, FirstChunk, Whole];
    node_fetch: "Node", "`fetch`, `Content-Encoding: zstd`", Small,
        Each(|file| node("fetch", file)), [Whole, Whole, FirstChunk, Whole];
    fzstd: "fzstd", "`decompress`", Bytes,
        Each(|file| node("fzstd.decompress", file)), [Whole, Whole, Whole, Whole];
    fzstd_stream: "fzstd", "`Decompress`", Bytes,
        Each(|file| node("fzstd.Decompress", file)), [Whole, Whole, Whole, Whole];

    klauspost: "klauspost/compress", "`NewReader`", Bytes,
        Each(|file| klauspost_compress("NewReader", file)), [Whole, Whole, Whole, Whole];
    klauspost_decode_all: "klauspost/compress", "`DecodeAll`", Bytes,
        Each(|file| klauspost_compress("DecodeAll", file)), [Whole, Whole, Whole, Whole];
    zstd_jni: "zstd-jni", "`ZstdInputStream`", Bytes,
        Each(|file| java("ZstdInputStream", file)), [Whole, Whole, Whole, Whole];
    zstd_jni_decompress: "zstd-jni", "`Zstd.decompress`, by the size of the first frame", Bytes,
        Each(|file| java("decompress", file)), [Whole, Refused, Refused, Whole];
}

fn check(test: &str) {
    let (_, row) = ROWS.iter().find(|(name, _)| *name == test).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let expected = |kind: &Kind| row.outcomes[kind.column as usize];
    let kinds: Vec<_> =
        KINDS.iter().filter(|kind| row.needs.takes(kind) && expected(kind) != NotTried).collect();
    let make = |(number, kind): (usize, &&Kind)| {
        let folder = folder.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        make(kind, row.needs, &folder)
    };
    let files: Vec<_> = kinds.iter().enumerate().map(make).collect();
    let readings = match row.read {
        Each(read) => files.iter().map(read).collect(),
        Module(reader) => python(reader, &files),
    };
    for ((kind, file), reading) in kinds.iter().zip(&files).zip(readings) {
        let what = format!("{}, {}: {:?}, {}", row.reader, row.way, kind.column, kind.what);
        match reading {
            Reading::Missing(why) => {
                // Behind the first line stands where a script was.
                let why = why.lines().next().unwrap_or_default();
                return skip("interop_matrix", &format!("{test}: {why}"));
            }
            Reading::Ended { content, error } => {
                let original = fs::read(&file.expected).unwrap();
                let found = outcome(&content, error.as_ref(), &original, &what);
                assert_eq!(found, expected(kind), "{what}: {error:?}");
            }
        }
    }
}

fn make(kind: &Kind, needs: Needs, folder: &Path) -> File {
    let expected = folder.join("expected");
    let original = needs.content(kind.content_len);
    fs::write(&expected, &original).unwrap();
    let (name, bytes) = match needs {
        Needs::Archive => ("content.tar", archive(&original)),
        _ => ("content", original),
    };
    let path = folder.join(format!("{name}.zst"));
    if kind.args.is_empty() {
        let frames: Vec<_> = bytes.chunks(CHUNK).map(|chunk| frame(chunk, PLAIN)).collect();
        let frames = if bytes.is_empty() { frame(&[], PLAIN) } else { frames.concat() };
        fs::write(&path, frames).unwrap();
    } else {
        fs::write(folder.join(name), &bytes).unwrap();
        let chunked = kind.args.contains(&"--chunk-size");
        let chunk: &[&str] = if chunked { &[] } else { &["--chunk-size", "64K"] };
        let pack = &mut ringpack(["pack", "-f", "-o"]);
        succeed(pack.arg(&path).args(chunk).args(kind.args).arg(folder.join(name)));
    }
    File { path, expected }
}

fn archive(member: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(member.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "member", member).unwrap();
    archive.into_inner().unwrap()
}

fn outcome(content: &[u8], error: Option<&String>, original: &[u8], what: &str) -> Outcome {
    if error.is_some() {
        return Refused;
    }
    if content.len() == CHUNK && original.starts_with(content) {
        return FirstChunk;
    }
    assert_same(content, original, what);
    Whole
}

/// What a program made of the file: it writes the content to its standard output.
fn ended(command: &mut Command) -> Reading {
    /// What the programs of `tests/interop` end with where they lack the reader.
    const MISSING: i32 = 77;
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Reading::Ended { content: output.stdout, error: None },
        Some(MISSING) => Reading::Missing(stderr),
        code => {
            Reading::Ended { content: output.stdout, error: Some(format!("{code:?}: {stderr}")) }
        }
    }
}

/// What a program found that compares the file by range with its content.
fn compared(command: &mut Command, file: &File) -> Reading {
    match ended(command.args([&file.path, &file.expected])) {
        Reading::Ended { error: None, .. } => {
            Reading::Ended { content: fs::read(&file.expected).unwrap(), error: None }
        }
        other => other,
    }
}

fn bytes(file: &File) -> Vec<u8> {
    fs::read(&file.path).unwrap()
}

fn tool(name: &str, args: &[&str], file: &File) -> Reading {
    if !has_tool(name) {
        return Reading::Missing(format!("{name} isn't installed"));
    }
    ended(Command::new(name).args(args).arg(&file.path))
}

/// The same for a file whose name says nothing.
fn without_suffix(name: &str, args: &[&str], file: &File) -> Reading {
    let path = file.path.with_file_name("archive");
    fs::copy(&file.path, &path).unwrap();
    tool(name, args, &File { path, expected: file.expected.clone() })
}

fn zstd_test_and_list(file: &File) -> Reading {
    for flag in ["-tq", "-l"] {
        if let Reading::Ended { content, error: Some(error) } = tool("zstd", &[flag], file) {
            return Reading::Ended { content, error: Some(error) };
        }
    }
    Reading::Ended { content: fs::read(&file.expected).unwrap(), error: None }
}

/// A server of its own, which answers one request.
fn curl_from_a_server(file: &File) -> Reading {
    if !has_tool("curl") {
        return Reading::Missing("curl isn't installed".to_owned());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let body = bytes(file);
    std::thread::scope(|scope| {
        scope.spawn(|| answer(&listener, &body));
        let reading =
            ended(Command::new("curl").args(["-sS", "--noproxy", "*", "--compressed", &url]));
        // Where curl never came, this is the request that the server waits for.
        let _ = std::net::TcpStream::connect(listener.local_addr().unwrap());
        reading
    })
}

fn answer(listener: &TcpListener, body: &[u8]) {
    let (mut client, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.windows(4).any(|four: &[u8]| four == b"\r\n\r\n") {
        match client.read(&mut part) {
            Ok(len) if len > 0 => request.extend(&part[..len]),
            _ => return,
        }
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nConnection: close";
    let head = format!("{head}\r\nContent-Length: {}\r\n\r\n", body.len());
    // A reader that has enough closes the connection.
    let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body));
}

/// A package of Debian is an `ar` archive of three members.
fn dpkg_deb_data(file: &File) -> Reading {
    if !has_tool("dpkg-deb") {
        return Reading::Missing("dpkg-deb isn't installed".to_owned());
    }
    let control = archive(b"Package: one\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n");
    let mut package = b"!<arch>\n".to_vec();
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar", control),
        ("data.tar.zst", bytes(file)),
    ] {
        package.extend(
            format!("{name:16}{:12}{:6}{:6}{:8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
        );
        package.extend(&bytes);
        package.extend(vec![b'\n'; bytes.len() % 2]);
    }
    let path = file.path.with_extension("deb");
    fs::write(&path, package).unwrap();
    ended(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(path))
}

/// The official library, by whole and by range, in a program of its own.
fn reference_library(file: &File) -> Reading {
    let program = support::binary().with_file_name("seekable_reference");
    if !program.exists() {
        return Reading::Missing("seekable_reference isn't built: run `just build`".to_owned());
    }
    compared(&mut Command::new(program), file)
}

/// By whole and from the middle; `tests/interoperability.rs` draws ranges.
fn zeekstd_by_range(file: &File) -> Reading {
    let expected = fs::read(&file.expected).unwrap();
    let mut reader = zeekstd::Decoder::new(fs::File::open(&file.path).unwrap()).unwrap();
    let middle = expected.len() / 2;
    let mut content = Vec::new();
    reader.seek(SeekFrom::Start(middle as u64)).unwrap();
    reader.read_to_end(&mut content).unwrap();
    assert_same(&content, &expected[middle..], "zeekstd from the middle");
    content.clear();
    reader.seek(SeekFrom::Start(0)).unwrap();
    let ended = reader.read_to_end(&mut content);
    Reading::of(content, ended.map(|_| ()))
}

fn by_async_compression(file: &File, multiple_members: bool) -> Reading {
    use tokio::io::{AsyncReadExt, BufReader};
    let packed = bytes(file);
    let mut decoder =
        async_compression::tokio::bufread::ZstdDecoder::new(BufReader::new(&packed[..]));
    decoder.multiple_members(multiple_members);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut content = Vec::new();
    let ended = runtime.block_on(decoder.read_to_end(&mut content));
    Reading::of(content, ended.map(|_| ()))
}

fn ruzstd_streaming_decoder(file: &File) -> Reading {
    let packed = bytes(file);
    let mut content = Vec::new();
    let ended = ruzstd::decoding::StreamingDecoder::new(&packed[..])
        .map_err(|error| format!("{error:?}"))
        .and_then(|mut reader| reader.read_to_end(&mut content).map_err(|error| error.to_string()));
    Reading::of(content, ended.map(|_| ()))
}

fn ruzstd_frame_decoder(file: &File) -> Reading {
    let expected = fs::metadata(&file.expected).unwrap().len() as usize;
    let mut content = Vec::with_capacity(expected);
    let ended = ruzstd::decoding::FrameDecoder::new().decode_all_to_vec(&bytes(file), &mut content);
    Reading::of(content, ended)
}

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn venv(program: &str) -> Result<PathBuf, String> {
    let path = tests().join("../target/interop-venv/bin").join(program);
    let missing = || format!("{program} isn't in target/interop-venv: run .ci/setup");
    path.exists().then_some(path).ok_or_else(missing)
}

fn script(name: &str, reader: &str) -> Result<Command, String> {
    let mut command = Command::new(venv("python")?);
    command.arg(tests().join("interop").join(name)).arg(reader);
    Ok(command)
}

fn python(reader: &str, files: &[File]) -> Vec<Reading> {
    let mut command = match script("streams.py", reader) {
        Ok(command) => command,
        Err(why) => return vec![Reading::Missing(why)],
    };
    let errors = match ended(command.args(files.iter().map(|file| &file.path))) {
        Reading::Ended { content, error: None } => String::from_utf8(content).unwrap(),
        Reading::Ended { error: Some(error), .. } => panic!("{reader}: {error}"),
        missing => return vec![missing],
    };
    assert_eq!(errors.lines().count(), files.len(), "{reader}: {errors}");
    let reading = |(file, error): (&File, &str)| Reading::Ended {
        content: fs::read(file.path.with_extension("zst.content")).unwrap(),
        error: (!error.is_empty()).then(|| error.to_owned()),
    };
    files.iter().zip(errors.lines()).map(reading).collect()
}

fn ranges(reader: &str, file: &File) -> Reading {
    script("ranges.py", reader).map_or_else(Reading::Missing, |mut it| compared(&mut it, file))
}

/// The Node of .ci/setup, or else the system's.
fn node(reader: &str, file: &File) -> Reading {
    let node = venv("node").unwrap_or_else(|_| PathBuf::from("node"));
    if !node.is_absolute() && !has_tool("node") {
        return Reading::Missing("Node isn't installed".to_owned());
    }
    let packages = tests().join("../target/interop-node/node_modules");
    let script = tests().join("interop/streams.mjs");
    ended(Command::new(node).arg(script).arg(reader).arg(&file.path).arg(packages))
}

/// The folder above a file's own: what is compiled once a test lies there.
fn beside_all(file: &File) -> &Path {
    file.path.ancestors().nth(2).unwrap()
}

/// Debian's packages are not modules.
fn klauspost_compress(way: &str, file: &File) -> Reading {
    const PACKAGES: &str = "/usr/share/gocode";
    if !has_tool("go")
        || !Path::new(PACKAGES).join("src/github.com/klauspost/compress/zstd").exists()
    {
        let packages = "golang-go and golang-github-klauspost-compress-dev";
        return Reading::Missing(format!("{packages} aren't installed"));
    }
    let program = beside_all(file).join("klauspost");
    if !program.exists() {
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(tests().join("interop/klauspost.go"));
        build.env("GOCACHE", beside_all(file).join("go-cache"));
        succeed(build.envs([("GO111MODULE", "off"), ("GOPATH", PACKAGES), ("GOFLAGS", "")]));
    }
    ended(Command::new(program).arg(way).arg(&file.path))
}

fn java(way: &str, file: &File) -> Reading {
    const JAR: &str = "/usr/share/java/zstd-jni.jar";
    if !has_tool("java") || !has_tool("javac") || !Path::new(JAR).exists() {
        return Reading::Missing("a JDK and libzstd-jni-java aren't installed".to_owned());
    }
    let classes = beside_all(file).join("classes");
    if !classes.exists() {
        let source = tests().join("interop/ZstdJni.java");
        succeed(Command::new("javac").args(["-cp", JAR, "-d"]).arg(&classes).arg(source));
    }
    let path = format!("{JAR}:{}", classes.display());
    ended(Command::new("java").args(["-cp", &path, "ZstdJni", way]).arg(&file.path))
}

/// Each row of the table is a row of the page: reader, version, way, and the four columns.
#[test]
fn the_page_says_the_same() {
    let page = fs::read_to_string(tests().join("../docs/INTEROPERABILITY.md")).unwrap();
    let section = page.split("## Read here").next().unwrap();
    let lines: Vec<Vec<_>> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (_, row) in ROWS {
        let line =
            lines.iter().find(|cells| cells[0] == row.reader && cells.get(2) == Some(&row.way));
        let line = line.unwrap_or_else(|| panic!("no row for {}, {}", row.reader, row.way));
        let expected: Vec<_> = row.outcomes.iter().map(|outcome| outcome.word()).collect();
        assert_eq!(line[3..7], expected, "{}, {}", row.reader, row.way);
    }
}

/// ratarmount serves the members of an archive from within the container, by FUSE.
#[test]
fn ratarmount() {
    let ratarmount = match venv("ratarmount") {
        Ok(ratarmount) => ratarmount,
        Err(why) => return skip("interop_matrix", &why),
    };
    if !Path::new("/dev/fuse").exists() || !has_tool("fusermount3") {
        return skip("interop_matrix", "FUSE isn't there: ratarmount mounted nothing");
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mount");
    fs::create_dir(&mount).unwrap();
    for kind in KINDS.iter().filter(|kind| Needs::Archive.takes(kind)) {
        let file = make(kind, Needs::Archive, folder.path());
        let what = format!("ratarmount: {:?}, {}", kind.column, kind.what);
        // It returns once the files can be read, and serves them in the background.
        let mounting = run(Command::new(&ratarmount).args([&file.path, &mount]));
        let stderr = String::from_utf8_lossy(&mounting.stderr);
        if !mounting.status.success() && stderr.contains("fuse") {
            return skip("interop_matrix", &format!("ratarmount can't mount here: {stderr}"));
        }
        let found = fs::read(mount.join("member"));
        let unmounted = run(Command::new("fusermount3").arg("-u").arg(&mount));
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}: {stderr}"));
        assert_same(&found, &fs::read(&file.expected).unwrap(), &what);
        assert!(unmounted.status.success(), "{unmounted:?}");
    }
}
