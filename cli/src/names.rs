//! Default names: `FILE` packs to `FILE.zst`, and back, as with zstd, and `DIR` to `DIR.tar.zst`;
//! `FILE.tzst` is a tar's, and `.zstd` stands for `.zst`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".zst";
/// That of a tar's container.
const ARCHIVE_SUFFIX: &str = ".tar.zst";
/// The same in short.
const TAR_SUFFIX: &str = ".tzst";
/// One that some files have instead.
const OTHER_SUFFIX: &str = ".zstd";

/// The container's name for an input.
pub(crate) fn packed(input: &Path) -> PathBuf {
    let mut name = input.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// The container's name for a directory that is packed as an archive.
pub(crate) fn archived(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(ARCHIVE_SUFFIX);
    name.into()
}

/// The content's name for a container, or `None` where the container's says none.
pub(crate) fn unpacked(input: &Path) -> Option<PathBuf> {
    let bytes = input.as_os_str().as_bytes();
    let without = |suffix: &str| bytes.strip_suffix(suffix.as_bytes());
    let (name, instead) = match without(SUFFIX).or_else(|| without(OTHER_SUFFIX)) {
        Some(name) => (name, &b""[..]),
        None => (without(TAR_SUFFIX)?, &b".tar"[..]),
    };
    let path = PathBuf::from(OsString::from_vec([name, instead].concat()));
    // `dir/.zst` would be a directory's name.
    (!name.is_empty() && !name.ends_with(b"/")).then_some(path)
}

/// Whether a name stands for standard input or output.
pub(crate) fn is_standard_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether a name stands for standard output where an output is named.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    is_standard_stream(path)
        || ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
            .iter()
            .any(|name| path == Path::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(packed(Path::new("a/b.tar")), Path::new("a/b.tar.zst"));
        assert_eq!(unpacked(Path::new("a/b.tar.zst")), Some(PathBuf::from("a/b.tar")));
        assert_eq!(unpacked(Path::new("a/b.tzst")), Some(PathBuf::from("a/b.tar")));
        assert_eq!(unpacked(Path::new("a/b.zstd")), Some(PathBuf::from("a/b")));
        for nameless in ["b.tar", ".zst", "a/.zst", "b.zst.bak"] {
            assert_eq!(unpacked(Path::new(nameless)), None, "{nameless}");
        }
    }
}
