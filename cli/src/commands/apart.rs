//! Whether the jobs of one command stand apart: no two write the same file, and none writes what
//! another reads.
//!
//! Two inputs can lead to one output: `x.tzst` and `x.tar.zst`, a directory `x` and a file `x.tar`,
//! files of one name from two directories. Where outputs may be replaced, the second takes the
//! place of the first, and `--rm` has removed the first one's source by then. Such a command is
//! refused before anything is written.
//!
//! # Invariants
//! - OC1: where outputs may be replaced, no output of a command takes the place of another output,
//!   nor of an input that it wasn't made from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;
use ringpack::planted::{self, Bug};

use crate::exit::Failure;

/// A job: what it reads, and the file that it writes if it writes one.
pub(crate) type Paths = (PathBuf, Option<PathBuf>);

/// Whether the jobs may be done in any order, since nothing that they read or write is shared.
///
/// # Errors
/// `Usage` where outputs are replaced and one would be lost, or an input.
pub(crate) fn are_apart(jobs: &[Paths], replace: bool) -> Result<bool, Failure> {
    let replace = replace && !planted::is(Bug::OutputsMayClash);
    let mut directories = Directories::default();
    let mut inputs = HashMap::new();
    let mut apart = true;
    for (input, _) in jobs {
        apart &= inputs.insert(directories.place(input), input).is_none();
    }
    let mut outputs: HashMap<Place, &Path> = HashMap::new();
    for (input, output) in jobs {
        let Some(output) = output else { continue };
        let place = directories.place(output);
        apart &= !inputs.contains_key(&place);
        match outputs.entry(place) {
            Entry::Vacant(entry) => {
                entry.insert(input);
            }
            Entry::Occupied(entry) => {
                apart = false;
                let other = *entry.get();
                // OC1; but the same file again becomes the same output again.
                if replace && directories.place(other) != directories.place(input) {
                    return Err(one_output(other, input, output));
                }
            }
        }
    }
    if replace {
        refuse_inputs(jobs)?;
    }
    Ok(apart)
}

/// Whether two paths name one place, which either may take or has.
pub(crate) fn are_one_place(first: &Path, second: &Path) -> bool {
    let mut directories = Directories::default();
    directories.place(first) == directories.place(second)
}

/// Refuses an output that all inputs go to, and that is one of them.
pub(crate) fn refuse_as_input(output: &Path, inputs: &[PathBuf]) -> Result<(), Failure> {
    let Ok(found) = fs::metadata(output) else { return Ok(()) };
    let is_output =
        |input: &&PathBuf| fs::metadata(input).is_ok_and(|it| identity(&it) == identity(&found));
    match inputs.iter().find(is_output) {
        Some(input) => Err(Failure::Usage(format!(
            "{} is an input and the output at once: name another output",
            shown(input)
        ))),
        None => Ok(()),
    }
}

/// Refuses outputs that are there already as the input of another job, by whatever name.
fn refuse_inputs(jobs: &[Paths]) -> Result<(), Failure> {
    let replaced = jobs.iter().filter_map(|(input, output)| {
        let output = output.as_deref()?;
        Some((identity(&fs::symlink_metadata(output).ok()?), input, output))
    });
    let mut replaced = replaced.peekable();
    if replaced.peek().is_none() {
        return Ok(());
    }
    let mut inputs: HashMap<Identity, Vec<&Path>> = HashMap::new();
    for (input, _) in jobs {
        if let Ok(found) = fs::metadata(input) {
            inputs.entry(identity(&found)).or_default().push(input);
        }
    }
    for (identity, input, output) in replaced {
        let readers = inputs.get(&identity).into_iter().flatten();
        // That a job would write its own input is refused when it begins.
        if let Some(other) = readers.copied().find(|&other| other != input) {
            return Err(an_input(input, output, other));
        }
    }
    Ok(())
}

fn one_output(first: &Path, second: &Path, output: &Path) -> Failure {
    Failure::Usage(format!(
        "{} and {} would both be written to {}, and the first be lost: name other outputs (-o), \
         one input at a time; nothing was done",
        shown(first),
        shown(second),
        shown(output)
    ))
}

fn an_input(input: &Path, output: &Path, other: &Path) -> Failure {
    Failure::Usage(format!(
        "{} would be written to {}, which is the input {} too: run a command for each; nothing \
         was done",
        shown(input),
        shown(output),
        shown(other)
    ))
}

/// A file, by all its names.
type Identity = (u64, u64);

fn identity(found: &fs::Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// A name in a directory, however the directory is spelled; as it is spelled where it isn't there.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    In(Identity, OsString),
    Spelled(PathBuf),
}

/// The directories that were looked up before.
#[derive(Default)]
struct Directories(HashMap<PathBuf, Option<Identity>>);

impl Directories {
    fn place(&mut self, path: &Path) -> Place {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Place::Spelled(path.to_owned());
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let found = match self.0.get(folder) {
            Some(found) => *found,
            None => {
                let found = fs::metadata(folder).ok().map(|found| identity(&found));
                *self.0.entry(folder.to_owned()).or_insert(found)
            }
        };
        match found {
            Some(found) => Place::In(found, name.to_owned()),
            None => Place::Spelled(path.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    /// A folder with a file in it, the folder by another name, and that file by another name.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink("d", at("l")).unwrap();
        for name in ["d/a", "d/a.zst", "b"] {
            fs::write(at(name), name).unwrap();
        }
        fs::hard_link(at("d/a.zst"), at("hard")).unwrap();
        std::os::unix::fs::symlink("d/a.zst", at("soft")).unwrap();
        folder
    }

    /// `None` where the jobs are refused.
    fn found(folder: &Path, inputs: [&str; 2], replace: bool) -> Option<bool> {
        let jobs = inputs.map(|input| {
            let input = folder.join(input);
            let output = names::packed(&input);
            (input, Some(output))
        });
        are_apart(&jobs, replace).ok()
    }

    #[test]
    fn jobs_that_share_a_file_are_not_apart() {
        let folder = folder();
        for (inputs, apart) in [
            (["d/a", "d/b"], true),
            (["d/a", "b"], true),
            (["d/a", "d/a"], false),
            (["d/a", "d/./a"], false),
            (["d/a", "l/a"], false),
            (["d/a", "l/../d/a"], false),
            (["d/a", "l/a.zst"], false),
        ] {
            assert_eq!(found(folder.path(), inputs, false), Some(apart), "{inputs:?}");
        }
        let here = ["a", "./a"].map(|path| (path.into(), Some(names::packed(Path::new(path)))));
        assert!(!are_apart(&here, false).unwrap());
    }

    #[test]
    fn oc1_what_would_be_lost_is_refused() {
        let folder = folder();
        for (inputs, expected) in [
            (["d/a", "d/b"], Some(true)),
            // The same file twice loses nothing.
            (["d/a", "l/../d/a"], Some(false)),
            (["d/a", "l/a.zst"], None),
            (["d/a.zst", "d/a"], None),
            (["hard", "d/a"], None),
            (["d/a", "soft"], None),
        ] {
            assert_eq!(found(folder.path(), inputs, true), expected, "{inputs:?}");
        }
        let out = |path: &str| Some(folder.path().join(path));
        let (a, b) = (folder.path().join("d/a"), folder.path().join("b"));
        for second in ["d/out", "l/out", "l/../d/./out", "d/../l/out"] {
            let jobs = [(a.clone(), out("d/out")), (b.clone(), out(second))];
            assert!(are_apart(&jobs, true).is_err(), "{second}");
            assert!(!are_apart(&jobs, false).unwrap(), "{second}");
        }
    }
}
