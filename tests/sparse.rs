//! Sparse inputs: what comes back is compared with the source, by programs that aren't ours.
//!
//! A worker's buffers are used again and again, so each input here is longer than all of them hold.
//! The sums in a container say nothing of its source: they are made from the same buffer. So the
//! content is decoded by libzstd alone, or by `zstd`, and compared with the file itself.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FallocateFlags, fallocate};
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::{Cancel, Codec, IoMode, OsDisk, PlacementKind};
use support::{Random, assert_same, has_tool, ringpack, run, skip, succeed};

/// Pages of the files drawn here; holes come in whole pages.
const PAGE: u64 = 4096;

/// A file of any layout: runs of noise, of text and of zeros that were written, holes, and space
/// that was allocated and never written, each up to a few chunks long.
fn draw(path: &Path, random: &mut Random) {
    let file = File::create(path).unwrap();
    let pages = 520 + random.below(400);
    let len = (pages * PAGE).saturating_sub(random.below(2 * PAGE));
    file.set_len(len).unwrap();
    let longest = [3, 20, 70][random.below(3) as usize];
    let mut page = random.below(30);
    while page < pages {
        let run = 1 + random.below(longest);
        let (offset, run_len) = (page * PAGE, (run * PAGE) as usize);
        let bytes: Vec<u8> = match random.below(6) {
            0 => vec![0; run_len],
            1 => {
                let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
                // Not every file system can; then it is a hole.
                let _ = fallocate(&file, flags, offset as i64, run_len as i64);
                Vec::new()
            }
            2 => format!("page {page} ").into_bytes().into_iter().cycle().take(run_len).collect(),
            _ => (0..run_len).map(|_| random.next() as u8 | 1).collect(),
        };
        let end = len.min(offset + bytes.len() as u64);
        file.write_all_at(&bytes[..end.saturating_sub(offset) as usize], offset).unwrap();
        page += run + random.below(longest);
    }
}

/// Any layout × chunk length × extent × workers × codec × placement × digest × way of reading.
#[test]
fn any_layout_comes_back_as_the_source_has_it() {
    let seed = std::env::var("RINGPACK_SEED").map_or(1, |seed| seed.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let mut holes = 0;
    for number in 0..50 {
        let mut random = Random(seed * 1_000 + number);
        draw(&input, &mut random);
        let (chunk_log2, chunks) = [(16, 1), (16, 3), (17, 1), (18, 2)][random.below(4) as usize];
        let codecs = [Codec::Store, Codec::Zstd(1), Codec::Zstd(3)];
        let options = PackOptions {
            codec: codecs[random.below(3) as usize],
            chunk_log2: Some(chunk_log2),
            placement: [PlacementKind::Dense, PlacementKind::Slots][random.below(2) as usize],
            extent_chunks: Some(chunks).filter(|_| random.below(4) > 0),
            blake3: random.below(2) == 0,
            threads: Some(1 + random.below(2) as usize),
            io: [IoMode::Auto, IoMode::Pwrite][random.below(2) as usize],
            direct: random.below(3) > 0,
            replace: true,
            ..PackOptions::default()
        };
        // Slots hold one chunk each.
        let options = match options.placement {
            PlacementKind::Slots => PackOptions { extent_chunks: None, ..options },
            _ => options,
        };
        let to = Output::Path(output.clone());
        let what = format!("RINGPACK_SEED={seed}, layout {number}: {options:?}");
        let packed = pack(&OsDisk, Input::Path(input.clone()), to, &options, &Cancel::new());
        holes += packed.unwrap_or_else(|error| panic!("{what}: {error}")).holes;
        let decoded = zstd::stream::decode_all(File::open(&output).unwrap()).unwrap();
        assert_same(&decoded, &fs::read(&input).unwrap(), &what);
    }
    assert!(holes > 0, "the file system of {} keeps no holes", folder.path().display());
}

/// Packs an image with one worker and with two, and has `zstd` and `cmp` compare the content with
/// the image; restores it, and has `cmp` compare that as well.
fn check_image(image: &Path) {
    let packed = image.with_extension("zst");
    let restored = image.with_extension("restored");
    for options in [&["-T1", "-1"][..], &["-T2", "--store", "--chunk-size", "64K"]] {
        let what = format!("{} with {options:?}", image.display());
        succeed(ringpack(["pack", "-q", "-f"]).args(options).arg("-o").arg(&packed).arg(image));
        let mut zstd =
            Command::new("zstd").arg("-dc").arg(&packed).stdout(Stdio::piped()).spawn().unwrap();
        let content = zstd.stdout.take().unwrap();
        let compared = run(Command::new("cmp").arg("-").arg(image).stdin(content));
        assert!(compared.status.success(), "{what}: {}", String::from_utf8_lossy(&compared.stdout));
        assert!(zstd.wait().unwrap().success(), "{what}");
        succeed(ringpack(["unpack", "-q", "-f", "-o"]).arg(&restored).arg(&packed));
        succeed(Command::new("cmp").arg(&restored).arg(image));
    }
}

/// A command of the folders where mkfs stands, which a user's PATH may lack.
fn tool(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&folders).collect();
    let folders = folders.into_iter().chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// An image that `make` makes of the tools of this machine, named by the first of them.
fn image(test: &str, mib: u64, command: &[&str]) {
    let Some(program) = tool(command[0]) else {
        return skip(test, &format!("{} is not installed", command[0]));
    };
    if !has_tool("zstd") {
        return skip(test, "zstd is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let args = command[1..].iter().map(|arg| match *arg {
        "IMAGE" => image.as_os_str(),
        arg => arg.as_ref(),
    });
    succeed(Command::new(program).args(args));
    check_image(&image);
}

/// A tree of files of all sizes that nobody here made, on every machine that builds C.
const TREE: &str = "/usr/include";

#[test]
fn an_ext4_image() {
    image("an_ext4_image", 192, &["mkfs.ext4", "-q", "-F", "-d", TREE, "IMAGE"]);
}

#[test]
fn an_ext4_image_of_small_blocks() {
    let command = ["mkfs.ext4", "-q", "-F", "-b", "1024", "-d", TREE, "IMAGE"];
    image("an_ext4_image_of_small_blocks", 160, &command);
}

#[test]
fn an_xfs_image() {
    image("an_xfs_image", 320, &["mkfs.xfs", "-q", "-f", "IMAGE"]);
}

#[test]
fn a_btrfs_image() {
    image("a_btrfs_image", 256, &["mkfs.btrfs", "-q", "-f", "--rootdir", TREE, "IMAGE"]);
}

/// A raw image as qemu-img writes it from a qcow2 whose guest wrote here and there.
#[test]
fn a_raw_image_of_qemu() {
    let test = "a_raw_image_of_qemu";
    if !has_tool("qemu-img") || !has_tool("qemu-io") || !has_tool("zstd") {
        return skip(test, "qemu-img, qemu-io or zstd is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let (qcow2, raw) = (folder.path().join("disk.qcow2"), folder.path().join("disk.raw"));
    succeed(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&qcow2).arg("192M"));
    let mut guest = Command::new("qemu-io");
    let mut random = Random(7);
    for place in 0..190 {
        if random.below(3) == 0 {
            continue;
        }
        let (pattern, kib) = (1 + random.below(255), 4 * (1 + random.below(255)));
        guest.arg("-c").arg(format!("write -q -P {pattern} {place}M {kib}k"));
    }
    succeed(guest.arg(&qcow2));
    succeed(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&qcow2).arg(&raw));
    check_image(&raw);
}

/// Holes punched into a file that was whole, and space that was only allocated.
#[test]
fn a_file_with_holes_punched_at_the_ends_of_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("punched");
    let mut random = Random(3);
    let noise: Vec<u8> = (0..40 << 20).map(|_| random.next() as u8 | 1).collect();
    fs::write(&image, &noise).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    // The last pages of each chunk, in every second run of two extents.
    for mib in (0..40).filter(|mib| mib / 8 % 2 == 1) {
        let pages = 1 + random.below(100) as i64;
        let punched =
            fallocate(&file, flags, ((mib + 1) << 20) - pages * PAGE as i64, pages * PAGE as i64);
        if punched.is_err() {
            return skip("a_file_with_holes_punched_at_the_ends_of_chunks", "no holes here");
        }
    }
    file.sync_all().unwrap();
    check_image(&image);
}
