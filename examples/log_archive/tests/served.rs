//! The archive as its clients see it: over a socket, by the program itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringpack::ContainerReader;
use support::processes::Running;
use support::{Random, assert_same, content, names};

/// The default, as the program packs.
const CHUNK: usize = 1 << 20;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, serving.
struct Served {
    _program: Running,
    address: String,
}

fn serve(path: &Path) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_log-archive"));
    let mut program = Running::start(command.arg(path).stdout(Stdio::piped()));
    let stdout = program.child().stdout.take().unwrap();
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("http://").and_then(|it| it.strip_suffix('/'));
    Served {
        address: address.unwrap_or_else(|| panic!("it says {said:?}")).to_owned(),
        _program: program,
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Served {
    /// Sends one request, and reads until the server hangs up.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: archive\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut all = Vec::new();
        // An answer that is cut short may end in a reset; what came before it counts.
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|it| it == b"\r\n\r\n").expect("an end of the headers");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Answer { status, headers: headers.collect(), body: all[end + 4..].to_vec() }
    }

    fn range(&self, range: &str) -> Answer {
        self.ask("GET", "/", &[("Range", range)])
    }
}

fn logged(folder: &Path, bytes: &[u8]) -> Served {
    let log = folder.join("log");
    std::fs::write(&log, bytes).unwrap();
    serve(&log)
}

fn check_part(answer: &Answer, bytes: &[u8], first: usize, last: usize, what: &str) {
    assert_eq!(answer.status, 206, "{what}");
    let stated = format!("bytes {first}-{last}/{}", bytes.len());
    assert_eq!(answer.header("content-range"), Some(stated.as_str()), "{what}");
    assert_eq!(answer.header("content-length"), Some((last - first + 1).to_string().as_str()));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    assert_same(&answer.body, &bytes[first..=last], what);
}

fn check_whole(answer: &Answer, bytes: &[u8], what: &str) {
    assert_eq!((answer.status, answer.header("content-range")), (200, None), "{what}");
    assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()), "{what}");
    assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{what}");
    assert_same(&answer.body, bytes, what);
}

#[test]
fn ranges_of_a_packed_log_are_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(3 * CHUNK + 12_345, 1);
    let len = bytes.len();
    let served = logged(folder.path(), &bytes);
    assert_eq!(names(folder.path()), ["log", "log.zst"]);
    let whole = served.ask("GET", "/", &[]);
    check_whole(&whole, &bytes, "the whole");
    for (first, last) in
        [(0, 0), (0, len - 1), (5, 5000), (CHUNK - 1, CHUNK), (100, 3 * CHUNK), (len - 1, len - 1)]
    {
        let range = format!("bytes={first}-{last}");
        check_part(&served.range(&range), &bytes, first, last, &range);
    }
    check_part(&served.range("bytes=3000000-"), &bytes, 3_000_000, len - 1, "open at the end");
    check_part(&served.range("bytes=7-99999999999"), &bytes, 7, len - 1, "past the end");
    check_part(&served.range("bytes=-4096"), &bytes, len - 4096, len - 1, "a suffix");
    check_part(&served.range("bytes=-99999999999"), &bytes, 0, len - 1, "a long suffix");
    for range in ["bytes=99999999999-", &format!("bytes={len}-"), "bytes=-0"] {
        let refused = served.range(range);
        assert_eq!(refused.status, 416, "{range}");
        assert_eq!(refused.header("content-range"), Some(format!("bytes */{len}").as_str()));
    }
    for range in ["bytes=0-1,5-6", "bytes=9-3", "pages=1-2", "rubbish"] {
        check_whole(&served.range(range), &bytes, range);
    }
    // A range of something that has changed meanwhile is no use.
    let etag = whole.header("etag").unwrap();
    for (stated, status) in [(etag, 206), ("\"other\"", 200)] {
        let headers = [("Range", "bytes=0-9"), ("If-Range", stated)];
        assert_eq!(served.ask("GET", "/", &headers).status, status, "{stated}");
    }
}

#[test]
fn head_and_what_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(100_000, 2);
    let served = logged(folder.path(), &bytes);
    for headers in [&[][..], &[("Range", "bytes=0-9")]] {
        let head = served.ask("HEAD", "/", headers);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some("100000"));
        assert_eq!(head.header("accept-ranges"), Some("bytes"));
    }
    assert_eq!(served.ask("GET", "/other", &[]).status, 404);
    let refused = served.ask("DELETE", "/", &[]);
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(names(folder.path()), ["log", "log.zst"]);
    // The container can be named as well, and a log isn't packed over one that is there.
    let again = serve(&folder.path().join("log.zst"));
    check_whole(&again.ask("GET", "/", &[]), &bytes, "the container named");
    let mut command = Command::new(env!("CARGO_BIN_EXE_log-archive"));
    let ended = Running::start(command.arg(folder.path().join("log"))).end();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("name it instead"), "{said}");
}

#[test]
fn an_empty_log_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let served = logged(folder.path(), b"");
    check_whole(&served.ask("GET", "/", &[]), b"", "the whole");
    check_whole(&served.range("bytes=0-"), b"", "a range of nothing");
}

#[test]
fn many_clients_are_served_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(4 * CHUNK + 9, 3);
    let served = logged(folder.path(), &bytes);
    std::thread::scope(|scope| {
        for seed in 0..12 {
            let (served, bytes) = (&served, &bytes);
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..10 {
                    let first = random.below(bytes.len() as u64) as usize;
                    let last = first + random.below((bytes.len() - first) as u64) as usize;
                    let range = format!("bytes={first}-{last}");
                    check_part(&served.range(&range), bytes, first, last, &range);
                }
            });
        }
        // One that connects and says nothing, and one that asks and doesn't read, hold up nobody.
        let silent = TcpStream::connect(&served.address).unwrap();
        let mut deaf = TcpStream::connect(&served.address).unwrap();
        deaf.write_all(b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n").unwrap();
        check_part(&served.range("bytes=-1"), &bytes, bytes.len() - 1, bytes.len() - 1, "one");
        drop((silent, deaf));
    });
}

/// Not a byte of a damaged chunk is sent: an answer that begins there is refused, one that comes to
/// it ends before it, short of what it was said to have.
#[test]
fn v2_a_damaged_chunk_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(4 * CHUNK, 4);
    drop(logged(folder.path(), &bytes));
    let path = folder.path().join("log.zst");
    let mut container = std::fs::read(&path).unwrap();
    let frame = ContainerReader::open(&path).unwrap().chunk(2).unwrap().frame_range();
    container[(frame.start + frame.end) as usize / 2] ^= 1;
    std::fs::write(&path, container).unwrap();
    let served = serve(&path);
    let begins_there = served.range(&format!("bytes={}-", 2 * CHUNK + 7));
    assert_eq!(begins_there.status, 500);
    let comes_to_it = served.range("bytes=1000-");
    assert_eq!(comes_to_it.status, 206);
    // Of what is before it, the connection may take some down with it.
    let (before, sent) = (&bytes[1000..2 * CHUNK], &comes_to_it.body);
    assert!(before.starts_with(sent), "{} bytes, and others than the log's", sent.len());
    let stated = (bytes.len() - 1000).to_string();
    assert_eq!(comes_to_it.header("content-length"), Some(stated.as_str()), "it can be told");
    let behind = format!("bytes={}-", 3 * CHUNK);
    check_part(&served.range(&behind), &bytes, 3 * CHUNK, 4 * CHUNK - 1, "what is behind it");
}
