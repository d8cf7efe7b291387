//! File systems and limits: each kind gives the same bytes by its own way of writing, a full one is
//! left as it was, and a process that is allowed little still works or says why not.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::cgroup::ControlGroup;
use support::mount::{FileSystem, Mount};
use support::processes::{Running, until};
use support::{Random, succeed};
use support::{backends, binary, content, fail, has_tool, is_root, names, ringpack, run, skip};

const MIB: usize = 1 << 20;

fn packed(bytes: &[u8], args: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::write(&input, bytes).unwrap();
    let mut command = ringpack(["pack", "-T1", "--io", "pwrite", "--no-direct"]);
    succeed(command.args(args.split_whitespace()).arg(&input));
    fs::read(folder.path().join("in.zst")).unwrap()
}

/// Runs a command in `folder` that must succeed, and gives what it says with `-v`.
fn said(folder: &Path, args: &str) -> String {
    let mut command = ringpack(args.split_whitespace());
    let output = run(command.arg("-v").current_dir(folder));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args}: {stderr}");
    stderr
}

/// A round trip on `folder`: the same bytes as elsewhere, by the way that is expected.
fn check(folder: &Path, io: &str, direct: bool, what: &str) {
    let way = if direct { "direct" } else { "buffered" };
    let tier = if io == "uring" { "tier Uring" } else { "tier Pwrite" };
    for (len, args) in [
        (9 * MIB + 1234, "-1"),
        (9 * MIB + 1234, "-1 --placement slots --chunk-size 256K --digest blake3"),
        (5 * MIB, "--store"),
        (0, "-1"),
    ] {
        let what = format!("{what}, {io}, {len} bytes, {args}");
        let bytes = content(len, len as u64);
        fs::write(folder.join("in"), &bytes).unwrap();
        let packing = said(folder, &format!("pack in -f {args} --io {io}"));
        assert!(packing.contains(&format!("output {way}")), "{what}: {packing}");
        assert!(packing.contains(&format!("input {way}")), "{what}: {packing}");
        assert!(packing.contains(tier), "{what}: {packing}");
        let container = fs::read(folder.join("in.zst")).unwrap();
        assert!(container == packed(&bytes, args), "{what}: other bytes than elsewhere");
        let unpacking = said(folder, &format!("unpack in.zst -f -o out --io {io}"));
        assert!(unpacking.contains(&format!("output {way}")), "{what}: {unpacking}");
        assert!(fs::read(folder.join("out")).unwrap() == bytes, "{what}: not restored");
        said(folder, &format!("verify --decode in.zst --io {io}"));
        assert!(!names(folder).iter().any(|name| name.contains("partial")), "{what}");
    }
}

fn mib(kind: FileSystem) -> u64 {
    match kind {
        FileSystem::Xfs => 300,
        FileSystem::Btrfs => 256,
        FileSystem::Ext4 | FileSystem::Tmpfs => 64,
    }
}

#[test]
fn the_same_bytes_on_every_file_system() {
    let test = "the_same_bytes_on_every_file_system";
    for kind in FileSystem::ALL {
        let Some(mount) = Mount::new(test, kind, mib(kind)) else {
            continue;
        };
        for io in backends(test) {
            check(mount.path(), io, kind.is_direct(), kind.name());
        }
    }
}

/// Bytes that no codec makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(77);
    (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// Room left on a file system that is nearly full: for some of what is written, not for all.
const FREE: u64 = 24 << 20;

fn available(folder: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(folder).unwrap();
    stat.blocks_available() * stat.fragment_size()
}

/// One line that names the target and the remedy, and nothing else changed.
fn check_full(mount: &Mount, command: &mut Command, old: Option<&[u8]>, what: &str) {
    let target = mount.path().join("out");
    let _ = fs::remove_file(&target);
    // What a run before this one freed is free only once that is committed, and its rings are gone.
    until("the space is free again", || {
        succeed(Command::new("sync").arg("-f").arg(mount.path()));
        available(mount.path()) > FREE / 2
    });
    if let Some(old) = old {
        fs::write(&target, old).unwrap_or_else(|error| panic!("{what}: {error}"));
        command.arg("-f");
    }
    let before = names(mount.path());
    let stderr = fail(command.arg("-o").arg(&target).stdin(Stdio::null()), 9);
    check_line(&stderr, &target, "free some space", what);
    assert_eq!(names(mount.path()), before, "{what}: left behind");
    assert_eq!(fs::read(&target).ok().as_deref(), old, "{what}");
}

fn check_line(stderr: &str, path: &Path, remedy: &str, what: &str) {
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
    assert!(stderr.starts_with("ringpack: "), "{what}: {stderr}");
    assert!(stderr.contains(path.to_str().unwrap()), "{what}: {stderr}");
    assert!(stderr.contains(remedy), "{what}: {stderr}");
}

#[test]
fn a_full_file_system_is_left_as_it_was() {
    let test = "a_full_file_system_is_left_as_it_was";
    let folder = tempfile::tempdir().unwrap();
    let (input, container) = (folder.path().join("in"), folder.path().join("in.zst"));
    fs::write(&input, noise(40 * MIB)).unwrap();
    succeed(ringpack(["pack", "--store"]).arg(&input));
    for kind in FileSystem::ALL {
        let Some(mount) = Mount::new(test, kind, mib(kind)) else {
            continue;
        };
        let ballast = (available(mount.path()) - FREE) as usize;
        fs::write(mount.path().join("ballast"), noise(ballast)).unwrap();
        fs::File::open(mount.path()).unwrap().sync_all().unwrap();
        for io in backends(test) {
            for old in [None, Some(&b"old"[..])] {
                let what = format!("{}, {io}, target {old:?}", kind.name());
                let mut pack = ringpack(["pack", "--no-checkpoint", "--store", "--io", io]);
                check_full(&mount, pack.arg(&input), old, &format!("pack, {what}"));
                let mut stream = Command::new("sh");
                let script = r#"program=$1 in=$2; shift 2; exec cat "$in" | "$program" pack "$@""#;
                stream.args(["-c", script, "sh"]).arg(binary()).arg(&input);
                stream.args(["--no-checkpoint", "--store", "--io", io, "-"]);
                check_full(&mount, &mut stream, old, &format!("pack from a pipe, {what}"));
                let mut unpack = ringpack(["unpack", "--io", io]);
                check_full(&mount, unpack.arg(&container), old, &format!("unpack, {what}"));
            }
        }
    }
}

/// Sizes of what is packed, from small to what the file system can hold.
const SIZES: usize = 20;
const SIZE_STEP: usize = 700_000;

/// A way to pack what `input` has, without `-o`.
type Way = fn(&Path) -> Command;

fn from_a_pipe(input: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"program=$1 in=$2; shift 2; cat "$in" | "$program" pack - "$@""#, "sh"]);
    command.arg(binary()).arg(input);
    command
}

/// Leaves `bytes` and a twentieth of them free, and room for names and journals.
fn leave(mount: &Mount, ballast: &fs::File, bytes: u64) {
    const NAMES: u64 = 64 << 10;
    let wanted = bytes + bytes / 20 + NAMES;
    ballast.set_len(0).unwrap();
    let mut taken = 0;
    // What a file system says of itself follows what was freed and taken after a while.
    until("so much is free", || {
        succeed(Command::new("sync").arg("-f").arg(mount.path()));
        let free = available(mount.path());
        let surplus = free.saturating_sub(wanted);
        if surplus >= 4096 {
            let range = nix::fcntl::FallocateFlags::empty();
            let _ = nix::fcntl::fallocate(ballast, range, taken, surplus as i64);
            taken = fs::metadata(mount.path().join("ballast")).unwrap().len() as i64;
        }
        surplus < 256 << 10
    });
}

/// Every job whose container fits is done, whatever it takes ahead of its writes; checkpoints are
/// taken all the while.
fn check_what_fits(test: &str, kind: FileSystem) {
    let Some(mount) = Mount::new(test, kind, mib(kind)) else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let (folder, elsewhere) = (place.path().join("tree"), place.path().join("elsewhere"));
    fs::create_dir(&folder).unwrap();
    let input = folder.join("in");
    let bytes = noise(SIZES * SIZE_STEP);
    let ballast = fs::File::create(mount.path().join("ballast")).unwrap();
    let ways: [(&str, Way); 3] = [
        ("a file", |input| {
            let mut command = ringpack(["pack"]);
            command.arg(input);
            command
        }),
        ("a stream", from_a_pipe),
        ("a tree", |input| {
            let mut command = ringpack(["pack"]);
            command.arg(input.parent().unwrap());
            command
        }),
    ];
    for size in 1..=SIZES {
        fs::write(&input, &bytes[..size * SIZE_STEP]).unwrap();
        let (name, way) = ways[size % ways.len()];
        succeed(way(&input).args(["-1", "-q", "-f", "-o"]).arg(&elsewhere));
        let len = fs::metadata(&elsewhere).unwrap().len();
        leave(&mount, &ballast, len);
        let output = mount.path().join("out");
        let free = available(mount.path());
        let mut command = way(&input);
        let packed = run(command.args(["-1", "-q", "--checkpoint-size", "1M", "-o"]).arg(&output));
        let stderr = String::from_utf8_lossy(&packed.stderr);
        let what = format!("{}, {name} to {len} bytes, {free} are free", kind.name());
        assert!(packed.status.success(), "{what}: {stderr}");
        assert!(fs::read(&output).unwrap() == fs::read(&elsewhere).unwrap(), "{what}");
        fs::remove_file(&output).unwrap();
    }
}

#[test]
fn what_fits_is_packed_on_ext4() {
    check_what_fits("what_fits_is_packed_on_ext4", FileSystem::Ext4);
}

#[test]
fn what_fits_is_packed_on_xfs() {
    check_what_fits("what_fits_is_packed_on_xfs", FileSystem::Xfs);
}

#[test]
fn what_fits_is_packed_on_btrfs() {
    check_what_fits("what_fits_is_packed_on_btrfs", FileSystem::Btrfs);
}

/// A job that runs leaves most of the free space to others, also while it is large.
#[test]
fn what_is_allocated_ahead_leaves_room_for_others() {
    let test = "what_is_allocated_ahead_leaves_room_for_others";
    for (kind, mib) in [(FileSystem::Ext4, 200), (FileSystem::Ext4, 2048), (FileSystem::Xfs, 2048)]
    {
        let Some(mount) = Mount::new(test, kind, mib) else {
            return;
        };
        let free = available(mount.path());
        let mut command = ringpack(["pack", "--store", "-q", "-", "-o"]);
        command.arg(mount.path().join("out")).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut input = running.child().stdin.take().unwrap();
        input.write_all(&noise(9 * MIB)).unwrap();
        let partial = mount.path().join("out.ringpack-partial");
        // What is allocated ahead was, before anything is written.
        until("some of it is written", || {
            fs::metadata(&partial).is_ok_and(|found| found.blocks() * 512 >= 4 * MIB as u64)
        });
        let left = available(mount.path());
        let what = format!("{}, {mib} MiB: {left} of {free} bytes are left", kind.name());
        assert!(left >= free / 2, "{what}");
        if mib == 2048 {
            assert!(left < free - (200 << 20), "{what}: nothing is allocated ahead");
        }
        drop(input);
        let output = running.end();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Once the program has ended it holds nothing: neither the space of what it removed nor the file
/// system itself.
#[test]
fn nothing_is_held_once_the_program_has_ended() {
    let test = "nothing_is_held_once_the_program_has_ended";
    let Some(mount) = Mount::new(test, FileSystem::Ext4, 64) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::write(&input, noise(80 * MIB)).unwrap();
    for io in backends(test) {
        let before = available(mount.path());
        let mut command = ringpack(["pack", "--no-checkpoint", "--store", "--io", io, "-o"]);
        fail(command.arg(mount.path().join("out")).arg(&input), 9);
        let after = available(mount.path());
        assert!(after + MIB as u64 > before, "{io}: of {before} bytes {after} are free");
    }
    fs::write(&input, noise(8 * MIB)).unwrap();
    for io in backends(test) {
        let Some(mount) = Mount::new(test, FileSystem::Ext4, 64) else {
            return;
        };
        let mut command = ringpack(["pack", "--store", "--io", io, "-o"]);
        succeed(command.arg(mount.path().join("out")).arg(&input));
        let unmounted = run(Command::new("umount").arg(mount.path()));
        let stderr = String::from_utf8_lossy(&unmounted.stderr);
        assert!(unmounted.status.success(), "{io}: {stderr}");
    }
}

#[test]
fn what_fits_only_as_sparse_is_unpacked() {
    let test = "what_fits_only_as_sparse_is_unpacked";
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    let mut bytes = vec![0; 300 * MIB];
    bytes[100 * MIB..101 * MIB].copy_from_slice(&noise(MIB));
    fs::write(&input, &bytes).unwrap();
    succeed(ringpack(["pack", "-1"]).arg(&input));
    for kind in FileSystem::ALL {
        let Some(mount) = Mount::new(test, kind, mib(kind)) else {
            continue;
        };
        for io in backends(test) {
            let output = mount.path().join("out");
            let mut command = ringpack(["unpack", "-f", "--io", io, "-o"]);
            succeed(command.arg(&output).arg(folder.path().join("in.zst")));
            let found = fs::metadata(&output).unwrap();
            let what = format!("{}, {io}", kind.name());
            assert_eq!(found.len(), bytes.len() as u64, "{what}");
            assert!(found.blocks() * 512 < 2 * MIB as u64, "{what}: {}", found.blocks() * 512);
            assert!(fs::read(&output).unwrap() == bytes, "{what}");
        }
    }
}

#[test]
fn a_file_system_that_is_read_only() {
    let test = "a_file_system_that_is_read_only";
    for kind in [FileSystem::Ext4, FileSystem::Tmpfs] {
        let Some(mount) = Mount::new(test, kind, 64) else {
            return;
        };
        let input = mount.path().join("in");
        fs::write(&input, content(MIB, 1)).unwrap();
        mount.remount("ro");
        let stderr = fail(ringpack(["pack"]).arg(&input), 8);
        check_line(&stderr, &mount.path().join("in.zst"), "Read-only", kind.name());
        // It can be read all the same.
        let elsewhere = tempfile::tempdir().unwrap();
        let output = elsewhere.path().join("out");
        succeed(ringpack(["pack", "-o"]).arg(&output).arg(&input));
        mount.remount("rw");
    }
}

/// A folder that anyone may write, with the program and an input in it: what is built may lie where
/// only its builder may go.
struct Open(tempfile::TempDir);

impl Open {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anyone = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        };
        anyone(folder.path());
        let program = folder.path().join("ringpack");
        fs::copy(binary(), &program).unwrap();
        anyone(&program);
        fs::write(folder.path().join("in"), content(9 * MIB, 4)).unwrap();
        anyone(&folder.path().join("in"));
        Self(folder)
    }

    /// The program run by `wrapper`, its tool and arguments, which is skipped where the tool lacks.
    fn command(&self, test: &str, wrapper: &str, args: &str) -> Option<Command> {
        let mut words = wrapper.split_whitespace();
        let tool = words.next().expect("a tool");
        if !has_tool(tool) {
            skip(test, &format!("{tool} is not installed"));
            return None;
        }
        let mut command = Command::new(tool);
        command.args(words).arg(self.path("ringpack")).args(args.split_whitespace());
        command.current_dir(self.0.path()).stdin(Stdio::null());
        Some(command)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn check_done(&self, what: &str) {
        let bytes = fs::read(self.path("in")).unwrap();
        assert!(fs::read(self.path("out")).unwrap() == packed(&bytes, "-1"), "{what}");
        fs::remove_file(self.path("out")).unwrap();
    }
}

#[test]
fn a_limit_on_the_size_of_files() {
    let test = "a_limit_on_the_size_of_files";
    let place = Open::new();
    succeed(ringpack(["pack", "-1"]).arg(place.path("in")));
    for io in backends(test) {
        for (wrapper, args) in [
            ("prlimit --fsize=1048576", "pack --store in -o out"),
            ("prlimit --fsize=1048576", "unpack in.zst -o out"),
            ("prlimit --fsize=0", "pack --store in -o out"),
        ] {
            let what = format!("{wrapper}, {args}, {io}");
            let Some(mut command) = place.command(test, wrapper, &format!("{args} --io {io}"))
            else {
                return;
            };
            let stderr = fail(&mut command, 8);
            check_line(&stderr, Path::new("out: "), "File too large", &what);
            assert_eq!(names(place.0.path()), ["in", "in.zst", "ringpack"], "{what}");
        }
    }
}

#[test]
fn limits_that_are_worked_with() {
    let test = "limits_that_are_worked_with";
    let place = Open::new();
    let mut wrappers = vec!["prlimit --nofile=32", "prlimit --core=0"];
    if is_root() {
        // Root is exempt from the limit on locked memory.
        wrappers.extend([
            "setpriv --reuid=65534 --regid=65534 --clear-groups prlimit --memlock=0",
            "setpriv --reuid=65534 --regid=65534 --clear-groups prlimit --memlock=65536",
            "setpriv --reuid=65534 --regid=65534 --clear-groups prlimit --memlock=8388608",
        ]);
    } else {
        wrappers.extend(["prlimit --memlock=0", "prlimit --memlock=65536"]);
    }
    for wrapper in wrappers {
        for (io, threads) in [("auto", 1), ("auto", 2), ("pwrite", 2)] {
            let what = format!("{wrapper}, {io}, {threads} threads");
            let args = format!("pack -1 in -o out -v --io {io} -T{threads}");
            let Some(mut command) = place.command(test, wrapper, &args) else {
                return;
            };
            let output = run(&mut command);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{what}: {stderr}");
            place.check_done(&what);
        }
    }
}

#[test]
fn too_few_descriptors_are_an_error() {
    let test = "too_few_descriptors_are_an_error";
    let place = Open::new();
    for nofile in 3..12 {
        let wrapper = format!("prlimit --nofile={nofile}");
        let what = wrapper.clone();
        let Some(mut command) = place.command(test, &wrapper, "pack -1 in -o out") else {
            return;
        };
        let output = run(&mut command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => place.check_done(&what),
            // Below what the dynamic linker needs, it says so itself.
            Some(127) if stderr.contains("shared libraries") => {}
            Some(_) => {
                assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
                assert!(stderr.contains("Too many open files"), "{what}: {stderr}");
            }
            None => panic!("{what}: killed: {stderr}"),
        }
        assert_eq!(names(place.0.path()), ["in", "ringpack"], "{what}");
    }
}

/// Limits on memory and on the stack by which zstd can work: fewer buffers and threads will do.
#[test]
fn little_memory_is_worked_with() {
    let folder = tempfile::tempdir().unwrap();
    let plain = noise(12 << 20);
    fs::write(folder.path().join("in"), &plain).unwrap();
    // Of address space or data in KiB; those that zstd fails with prove nothing.
    for limit in ["-v 300000", "-v 150000", "-v 80000", "-d 80000", "-s 64"] {
        let limited = |line: &str| {
            let script = format!("ulimit {limit}; exec {line}");
            let mut command = Command::new("bash");
            command.args(["-c", &script]).env("RINGPACK", binary()).current_dir(folder.path());
            run(command.stdin(Stdio::null()))
        };
        assert!(limited("zstd -qf in -o by-zstd").status.success(), "zstd, {limit}");
        for line in ["pack -f in -o out", "unpack -f out -o back", "verify --decode out"] {
            let output = limited(&format!("\"$RINGPACK\" {line}"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{limit}: {line}: {}: {stderr}", output.status);
        }
        assert!(fs::read(folder.path().join("back")).unwrap() == plain, "{limit}");
    }
    // Too little is an error, and leaves nothing.
    let script = "ulimit -v 40000; exec \"$RINGPACK\" pack in -o none";
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("RINGPACK", binary()).current_dir(folder.path());
    fail(&mut command, 8);
    assert_eq!(names(folder.path()), ["back", "by-zstd", "in", "out"]);
}

/// Without `/proc` the umask is that of the process, and what it was started to ignore is ignored;
/// without a directory for scratch files, streams are written all the same.
#[test]
fn neither_proc_nor_scratch_directory_is_needed() {
    let test = "neither_proc_nor_scratch_directory_is_needed";
    let folder = tempfile::tempdir().unwrap();
    let plain = content(300_000, 4);
    fs::write(folder.path().join("in"), &plain).unwrap();
    let script = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-ec", script]).env("RINGPACK", binary()).env("TMPDIR", "/nonexistent");
        command.current_dir(folder.path()).stdin(Stdio::null());
        succeed(&mut command)
    };
    for line in ["pack -c in", "pack -c - <in"] {
        let piped = format!("set -o pipefail; \"$RINGPACK\" {line} | zstd -dcq | cmp - in");
        script(&piped);
        script("set -o pipefail; zstd -cq <in | \"$RINGPACK\" unpack -c - | cmp - in");
    }
    if !is_root() || !has_tool("unshare") {
        return skip(test, "needs root and unshare (util-linux) to hide /proc");
    }
    let hidden = "mount -t tmpfs none /proc; trap '' HUP; umask 027; mkfifo feed;
        \"$RINGPACK\" pack - -o out <feed & exec 3>feed; cat in >&3;
        until [ -e out.ringpack-partial ]; do :; done; kill -HUP $!; exec 3>&-; wait $!;
        zstd -dcq out | cmp - in";
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-ec", hidden]).env("RINGPACK", binary());
    succeed(command.current_dir(folder.path()).stdin(Stdio::null()));
    let mode = fs::metadata(folder.path().join("out")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// As seccomp, a container or an old kernel refuses it: the call fails before it is made.
#[test]
fn io_uring_is_refused() {
    let test = "io_uring_is_refused";
    let place = Open::new();
    if has_tool("strace")
        && !run(Command::new("strace").args(["-o", "/dev/null", "true"])).status.success()
    {
        return skip(test, "strace is refused");
    }
    for errno in ["EPERM", "ENOSYS", "EACCES"] {
        let wrapper = format!(
            "strace -f --seccomp-bpf -o /dev/null -e trace=io_uring_setup -e \
             inject=io_uring_setup:error={errno}"
        );
        for threads in [1, 2] {
            let what = format!("{errno}, {threads} threads");
            let command = |args: &str| {
                let args = format!("{args} -T{threads}");
                place.command(test, &wrapper, &args)
            };
            let Some(mut auto) = command("pack -1 in -o out") else {
                return;
            };
            let output = run(&mut auto);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{what}: {stderr}");
            check_line(&stderr, Path::new("warning: io_uring"), "using pread and pwrite", &what);
            place.check_done(&what);
            for quietly in ["pack -1 in -o out -q", "pack -1 in -o out --io pwrite"] {
                let output = run(&mut command(quietly).unwrap());
                assert!(output.status.success() && output.stderr.is_empty(), "{what}: {quietly}");
                place.check_done(&what);
            }
            let stderr = fail(&mut command("pack -1 in -o out --io uring").unwrap(), 12);
            check_line(&stderr, Path::new("io_uring"), "--io pwrite", &what);
            assert_eq!(names(place.0.path()), ["in", "ringpack"], "{what}");
        }
    }
}

/// A kernel that can't start a thread of its own cancels what it was to do; the job does it.
#[test]
fn the_kernel_may_start_no_threads() {
    let test = "the_kernel_may_start_no_threads";
    if !backends(test).contains(&"uring") {
        return;
    }
    let Some(group) = ControlGroup::new(test, "pids") else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let (input, output) = (place.path().join("in"), place.path().join("out"));
    let bytes = noise(24 * MIB);
    fs::write(&input, &bytes).unwrap();
    let mut done = 0;
    // Too few for the program's own threads, then enough for those and for none of the kernel's.
    for pids in 2..9 {
        let pids = pids.to_string();
        let bound: [(&str, &str); 1] = [("pids.max", &pids)];
        if !group.set(test, &bound, &bound) {
            return;
        }
        // Buffered writes are what the kernel gives to threads.
        let args = ["pack", "--store", "--no-direct", "--io", "uring", "-f", "-o"];
        let packed = run(group.ringpack(args).arg(&output).arg(&input));
        let stderr = String::from_utf8_lossy(&packed.stderr);
        assert!(!stderr.contains("canceled"), "{pids} threads: {stderr}");
        if packed.status.success() {
            succeed(ringpack(["unpack", "-f", "-o"]).arg(place.path().join("back")).arg(&output));
            assert!(fs::read(place.path().join("back")).unwrap() == bytes, "{pids} threads");
            done += 1;
        } else {
            assert!(stderr.contains("cannot start"), "{pids} threads: {stderr}");
        }
    }
    assert!(done > 2, "{done} jobs of 7 were done");
}

/// Threads of a job by default, and whether they are bound to cores, in a group with a bound.
#[test]
fn a_job_has_no_more_threads_than_its_control_group_lets_run() {
    let test = "a_job_has_no_more_threads_than_its_control_group_lets_run";
    let place = tempfile::tempdir().unwrap();
    let (input, output) = (place.path().join("in"), place.path().join("out"));
    fs::write(&input, content(9 * MIB, 4)).unwrap();
    let threads = |command: &mut Command| {
        let packed = run(command.args(["pack", "-1", "-v", "-f", "-o"]).arg(&output).arg(&input));
        let stderr = String::from_utf8_lossy(&packed.stderr).into_owned();
        assert!(packed.status.success(), "{stderr}");
        let told = stderr.lines().find_map(|line| line.trim().strip_prefix("threads "));
        let count =
            told.and_then(|told| told.split(',').next()).unwrap_or_else(|| panic!("{stderr}"));
        count.parse::<usize>().unwrap()
    };
    type Bound = [(&'static str, &'static str)];
    let cases: [(&str, &Bound, &Bound); 2] = [
        (
            "cpu",
            &[("cpu.max", "50000 100000")],
            &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")],
        ),
        ("memory", &[("memory.max", "100663296")], &[("memory.limit_in_bytes", "100663296")]),
    ];
    for (controller, unified, legacy) in cases {
        let Some(group) = ControlGroup::new(test, controller) else {
            continue;
        };
        if !group.set(test, unified, legacy) {
            continue;
        }
        assert_eq!(threads(&mut group.ringpack::<&str>([])), 1, "{controller}");
        let below = group.below();
        assert_eq!(threads(&mut below.ringpack::<&str>([])), 1, "{controller}, of the parent");
        let doctor = run(&mut below.ringpack(["doctor"]));
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(cores == 1 || said.contains("default is -T1"), "{controller}: {said}");
    }
}
