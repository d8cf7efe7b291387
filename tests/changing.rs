//! Inputs that change while they are packed, in ways that leave their time of modification as it
//! was: every way of packing notices, publishes nothing, and removes no source.
//!
//! Output goes to a pipe that the test reads when it likes. A job whose output isn't taken waits,
//! with the end of its input still unread, so the change comes at a known moment.

use std::fs::{self, File, FileTimes};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use nix::sys::signal::Signal;
use support::codes::{CHANGED, FAILURE, NOT_RESUMABLE};
use support::mount::{FileSystem, Mount};
use support::processes::{Running, until};
use support::{Random, fail, has_tool, names, ringpack, run, skip, succeed};

/// Length of an input: far more than what is read before the output is taken.
const LEN: usize = 40 << 20;

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(5);
    (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// A way of packing a file, as a shell has it, and the exit code where the file changed.
type Way = (&'static str, i32);

/// The ways; `DIR/in` is the file. zstd's flags have zstd's exit codes.
const WAYS: [Way; 6] = [
    ("ringpack pack -c -T1 --store DIR/in", CHANGED),
    ("ringpack pack -c -T1 --store --no-direct DIR/in", CHANGED),
    ("ringpack pack -c -T1 --store --io pwrite DIR/in", CHANGED),
    ("ringpack pack -c -T1 --store - < DIR/in", CHANGED),
    ("ringpack pack -c -T1 --store DIR", CHANGED),
    ("ringpack -q -c -T1 -1 DIR/in", FAILURE),
];

/// A job that packs `folder/in` by a way of [`WAYS`], and waits for its output to be taken.
struct Waiting {
    child: Child,
    stdout: ChildStdout,
    way: Way,
}

impl Waiting {
    fn start(way: Way, folder: &Path) -> Self {
        let program = support::binary();
        let bin = program.parent().unwrap().display();
        let line = way.0.replace("DIR", &folder.display().to_string());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("PATH={bin}:$PATH; exec {line}")]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // By now the input is open, and its first chunk is packed.
        stdout.read_exact(&mut vec![0; 2 << 20]).unwrap();
        Self { child, stdout, way }
    }

    /// Takes the rest, which must end in the refusal of an input that changed.
    fn check_refused(mut self) {
        let (what, code) = self.way;
        std::io::copy(&mut self.stdout, &mut std::io::sink()).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
        assert!(stderr.contains("while it was read"), "{what}: {stderr}");
    }
}

/// Overwrites a byte, and sets the time of modification back to what it was.
fn rewrite_hidden(path: &Path, offset: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"hidden", offset).unwrap();
    file.set_times(FileTimes::new().set_modified(before)).unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
}

#[test]
fn a_rewrite_whose_mtime_is_put_back_is_noticed_whatever_is_packed() {
    let bytes = noise(LEN);
    for way in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        fs::write(&input, &bytes).unwrap();
        let waiting = Waiting::start(way, folder.path());
        rewrite_hidden(&input, 0);
        waiting.check_refused();
    }
}

/// Nothing is removed that isn't what was packed.
#[test]
fn a_source_that_changed_in_hiding_is_not_removed() {
    let bytes = noise(LEN);
    let ways = [
        (&["pack", "--rm", "-T1", "--store"][..], CHANGED),
        (&["--rm", "-q", "-T1", "-1"], FAILURE),
    ];
    for (args, code) in ways {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        fs::write(&input, &bytes).unwrap();
        let mut running = Running::start(ringpack(args).arg(&input));
        let partial = folder.path().join("in.zst.ringpack-partial");
        until("the partial file is there", || partial.exists());
        running.signal(Signal::SIGSTOP);
        assert!(partial.exists(), "{args:?}: stopped in the middle");
        rewrite_hidden(&input, LEN as u64 / 2);
        running.signal(Signal::SIGCONT);
        let output = running.end();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert_eq!(names(folder.path()), ["in"], "{args:?}");
    }
}

/// A Python program that has a file mapped, dirties a page at its front and one at its end, and
/// stores to both again when it is told to.
const MAPPER: &str = "
import mmap, sys
file = open(sys.argv[1], 'r+b')
pages = mmap.mmap(file.fileno(), 0)
def store(byte):
    pages[8:9] = byte
    pages[len(pages) - 8:len(pages) - 7] = byte
    print(byte.decode(), flush=True)
store(b'A')
for line in sys.stdin:
    store(line.strip().encode())
";

struct Mapper {
    child: Child,
    stdin: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Mapper {
    fn start(path: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", MAPPER]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut mapper = Self { child, stdin, said: BufReader::new(stdout) };
        mapper.wait_for("A");
        mapper
    }

    fn wait_for(&mut self, byte: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), byte);
    }

    fn store(&mut self, byte: &str) {
        writeln!(self.stdin, "{byte}").unwrap();
        self.wait_for(byte);
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pages were dirty before the input was opened, so that only writing them out makes the next
/// store move the file's times.
#[test]
fn a_store_through_a_mapping_is_noticed_whatever_is_packed() {
    let test = "a_store_through_a_mapping_is_noticed_whatever_is_packed";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    let bytes = noise(LEN);
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        let Some(mount) = Mount::new(test, kind, 400) else { continue };
        for (number, way) in WAYS.into_iter().enumerate() {
            let folder = mount.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            let input = folder.join("in");
            fs::write(&input, &bytes).unwrap();
            File::open(&input).unwrap().sync_all().unwrap();
            let mut mapper = Mapper::start(&input);
            let waiting = Waiting::start(way, &folder);
            mapper.store("B");
            waiting.check_refused();
            drop(mapper);
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}

/// A file system that keeps whole seconds: ext4 with the inodes of 128 bytes of small disks.
fn coarse(test: &str) -> Option<Mount> {
    Mount::made_with(test, FileSystem::Ext4, 200, &["-I", "128"])
}

/// Packs `input` until a checkpoint is reported, and kills the job.
fn kill_at_checkpoint(input: &Path, output: &Path) {
    let mut command = ringpack(["pack", "--json", "--store", "-T1", "--checkpoint-size", "4M"]);
    command.arg("-o").arg(output).arg(input).stdout(Stdio::piped());
    let mut running = Running::start(&mut command);
    let said = BufReader::new(running.child().stdout.take().unwrap());
    let told = said.lines().any(|line| line.unwrap().contains("\"checkpoint\""));
    assert!(told, "no checkpoint was reported");
    running.signal(Signal::SIGKILL);
    let _ = running.end();
}

/// How much of the present second is over, in milliseconds.
fn of_second() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.subsec_millis()
}

/// The write of the source, the job and the change come within one second, as far as the job lets
/// them: what is published is the source as it is then, or nothing.
#[test]
fn a_change_within_the_tick_of_a_coarse_clock_is_not_missed_by_resume() {
    let test = "a_change_within_the_tick_of_a_coarse_clock_is_not_missed_by_resume";
    let Some(mount) = coarse(test) else { return };
    let (input, output) = (mount.path().join("in"), mount.path().join("out"));
    let bytes = noise(24 << 20);
    fs::write(&input, &bytes).unwrap();
    until("a second has just begun", || of_second() < 50);
    let file = File::options().write(true).open(&input).unwrap();
    file.write_all_at(&bytes[..8], 0).unwrap();
    kill_at_checkpoint(&input, &output);
    let there = names(mount.path());
    assert!(there.contains(&"out.ringpack-journal".to_owned()), "{there:?}");
    for offset in [100, bytes.len() as u64 - 100] {
        file.write_all_at(b"changed", offset).unwrap();
    }
    let resumed = run(ringpack(["resume", "-q"]).arg(&output));
    if resumed.status.success() {
        let content = succeed(Command::new("zstd").arg("-dc").arg(&output));
        assert!(content == fs::read(&input).unwrap(), "a mixture is published");
    } else {
        assert_eq!(names(mount.path()), there, "what a refusal leaves");
    }
}

/// As above, while the job runs.
#[test]
fn a_change_within_the_tick_of_a_coarse_clock_is_not_missed_by_pack() {
    let test = "a_change_within_the_tick_of_a_coarse_clock_is_not_missed_by_pack";
    let Some(mount) = coarse(test) else { return };
    let bytes = noise(LEN);
    let input = mount.path().join("in");
    for way in [WAYS[0], WAYS[4]] {
        fs::write(&input, &bytes).unwrap();
        until("a second has just begun", || of_second() < 50);
        let file = File::options().write(true).open(&input).unwrap();
        file.write_all_at(&bytes[..8], 0).unwrap();
        let waiting = Waiting::start(way, mount.path());
        file.write_all_at(b"changed", 0).unwrap();
        waiting.check_refused();
    }
}

/// New times alone say nothing of the content, which is compared.
#[test]
fn a_source_that_was_touched_is_compared_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let bytes = noise(24 << 20);
    for written in [false, true] {
        fs::write(&input, &bytes).unwrap();
        kill_at_checkpoint(&input, &output);
        let file = File::options().write(true).open(&input).unwrap();
        let mut resume = ringpack(["resume", "-v"]);
        resume.arg(&output);
        if written {
            file.write_all_at(b"other", 100).unwrap();
            let said = fail(&mut resume, NOT_RESUMABLE);
            assert!(said.contains("differs from what was packed"), "{said}");
            continue;
        }
        file.set_times(FileTimes::new().set_modified(SystemTime::now())).unwrap();
        let output_of = run(&mut resume);
        let stderr = String::from_utf8_lossy(&output_of.stderr);
        assert!(output_of.status.success() && stderr.contains("from before"), "{stderr}");
        succeed(ringpack(["unpack", "-q", "-o"]).arg(folder.path().join("back")).arg(&output));
        succeed(Command::new("cmp").arg(folder.path().join("back")).arg(&input));
        fs::remove_file(&output).unwrap();
    }
}
