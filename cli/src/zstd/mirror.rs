//! `--output-dir-mirror`: outputs in a directory that has the sources' directories in it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use ringpack::escape::shown;

use crate::exit::Failure;

/// Mode of the directory itself where it isn't there yet.
const ROOT_MODE: u32 = 0o755;

/// The directory that a file's output goes into. A path with `..` in it has none: its place would
/// be outside.
pub(super) fn folder(file: &Path, root: &Path) -> Result<PathBuf, Failure> {
    let mut folder = root.to_owned();
    for component in file.parent().unwrap_or(Path::new("")).components() {
        match component {
            Component::Normal(name) => folder.push(name),
            Component::ParentDir => {
                let what = "a path with .. in it has no place in another directory";
                return Err(Failure::Usage(format!("{}: {what}", shown(file))));
            }
            _ => {}
        }
    }
    Ok(folder)
}

/// Makes the directories that a file's output goes into, each with the mode of the source's.
pub(super) fn make(file: &Path, root: &Path) -> Result<(), Failure> {
    folder(file, root)?;
    directory(root, ROOT_MODE)?;
    let (mut source, mut target) = (PathBuf::new(), root.to_owned());
    for component in file.parent().unwrap_or(Path::new("")).components() {
        source.push(component);
        if let Component::Normal(name) = component {
            target.push(name);
            let mode = fs::metadata(&source).map_or(ROOT_MODE, |found| found.permissions().mode());
            directory(&target, mode & 0o777)?;
        }
    }
    Ok(())
}

fn directory(path: &Path, mode: u32) -> Result<(), Failure> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::Other(format!("{}: cannot make the directory: {error}", shown(path))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_another_directory() {
        for (file, expected) in [
            ("a", "o"),
            ("d/a", "o/d"),
            ("./d/e/a", "o/d/e"),
            ("/d/a", "o/d"),
            ("d/.h/a", "o/d/.h"),
        ] {
            assert_eq!(folder(Path::new(file), Path::new("o")).unwrap(), Path::new(expected));
        }
        assert!(folder(Path::new("d/../a"), Path::new("o")).is_err());
    }
}
