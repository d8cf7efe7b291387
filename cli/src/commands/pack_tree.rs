//! `ringpack pack` of a directory: the tree becomes a tar stream, which is packed as any other.

use std::env;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ringpack::escape::shown;
use ringpack::pack::{Archive, Input};
use ringpack::read::Container;
use ringpack::{Error, ErrorKind};

use super::compare_tree::{self, Run};
use crate::args;
use crate::exit::Failure;
use crate::names;
use crate::quoting::quoted_word;
use crate::tree::compare::{Differences, Rules};
use crate::tree::select::Patterns;
use crate::tree::walk::Walk;
use crate::tree::when;

/// A directory to be packed.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// Where it is, with neither links nor dots in it.
    canonical: PathBuf,
}

/// What compares a container with the tree that was packed into it.
type Compare = Box<dyn FnOnce(&Container) -> ringpack::Result<()> + Send>;

/// What was found on the way, once it was packed.
pub(super) type Warnings = Arc<Mutex<Vec<String>>>;

impl Tree {
    /// The tree that `input` is, if it is a directory.
    pub(super) fn of(input: &Path) -> Result<Option<Self>, Failure> {
        if !fs::metadata(input).is_ok_and(|found| found.is_dir()) {
            return Ok(None);
        }
        let canonical = fs::canonicalize(input).map_err(|error| {
            Error::from_io(ErrorKind::Input, "cannot open the input", error).at(input)
        })?;
        Ok(Some(Self { root: input.to_owned(), canonical }))
    }

    /// The container's name where none is given: beside the directory.
    pub(super) fn output(&self) -> PathBuf {
        match self.root.file_name() {
            // As typed, without a slash at its end.
            Some(name) => names::archived(&self.root.with_file_name(name)),
            None => names::archived(&self.canonical),
        }
    }

    /// Refuses an output that would be packed into itself.
    pub(super) fn check_output(&self, output: &Path) -> Result<(), Failure> {
        let parent = match output.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        if fs::canonicalize(parent).is_ok_and(|parent| parent.starts_with(&self.canonical)) {
            let name = shown(output);
            let what = "lies within the directory that is packed: name one outside with --output";
            return Err(Failure::Usage(format!("{name}: {what} (-o)")));
        }
        Ok(())
    }

    /// Starts to write the tree into a pipe, whose other end is the input. `check` is what a
    /// comparison of the container with the tree runs by, if there is to be one.
    pub(super) fn input(
        &self,
        args: &args::PackTree,
        check: Option<Run>,
    ) -> Result<(Input, Warnings), Failure> {
        let walk = self.walk(args)?;
        let compare = check.map(|run| self.comparison(args, &walk, run)).transpose()?;
        let failed = |error| Failure::Other(format!("cannot start to read the directory: {error}"));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let (tell, told) = mpsc::sync_channel(1);
        let walking = thread::Builder::new().name("ringpack-walk".to_owned());
        walking
            .spawn(move || {
                // Told before the pipe is closed: whoever finds its end finds this.
                let _ = tell.send(walk.write(&writer));
            })
            .map_err(failed)?;
        let warnings = Warnings::default();
        let noted = Arc::clone(&warnings);
        let ending = Box::new(move || {
            let walked = told.recv().map_err(|_| {
                Error::new(ErrorKind::Internal, "the thread that reads the directory panicked")
            })??;
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = walked.warnings;
            Ok(walked.members)
        });
        let stream = fs::File::from(OwnedFd::from(reader));
        let path = self.root.clone();
        Ok((Input::Archive(Archive { stream, path, ending, compare }), warnings))
    }

    /// What compares the container with the tree.
    fn comparison(&self, args: &args::PackTree, walk: &Walk, run: Run) -> Result<Compare, Failure> {
        let rules = Rules {
            root: self.root.clone(),
            name: Some(walk.name.clone()),
            exclude: Patterns::new(&args.exclude).map_err(Failure::Usage)?,
            one_file_system: walk.one_file_system,
            content_only: false,
            all_xattrs: true,
            mtime: walk.mtime,
            mtime_max: walk.mtime_max,
        };
        Ok(Box::new(move |container| {
            let Differences { count, described } = compare_tree::compare(container, rules, &run)?;
            match described.into_iter().next() {
                None if count == 0 => Ok(()),
                first => Err(first.map_or_else(
                    || Error::new(ErrorKind::Differs, format!("{count} files differ")),
                    |first| match count {
                        1 => first,
                        count => first.hint(format!("{count} differences: nothing was published")),
                    },
                )),
            }
        }))
    }

    fn walk(&self, args: &args::PackTree) -> Result<Walk, Failure> {
        let exclude = Patterns::new(&args.exclude).map_err(Failure::Usage)?;
        let name = self.canonical.file_name().map_or(&b"."[..], |name| name.as_bytes());
        Ok(Walk {
            root: self.root.clone(),
            name: name.to_vec(),
            exclude,
            sorted: args.sort == args::Sort::Name,
            one_file_system: args.one_file_system,
            numeric_owner: args.numeric_owner,
            mtime: args.mtime,
            mtime_max: match args.clamp_mtime {
                None if args.mtime.is_none() => source_date_epoch()?,
                given => given,
            },
        })
    }
}

/// The time that builds which want to be reproducible set.
fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    when::seconds(&text)
        .map(Some)
        .map_err(|what| Failure::Usage(format!("SOURCE_DATE_EPOCH {what}")))
}

/// The command that goes on with the packing of a directory: the same, with `--resume`.
pub(super) fn resume_command() -> String {
    let mut words = vec!["ringpack".to_owned()];
    for arg in env::args_os().skip(1).filter(|arg| arg != "--resume") {
        let is_command = words.len() == 1;
        words.push(quoted_word(&arg, ""));
        if is_command {
            words.push("--resume".to_owned());
        }
    }
    words.join(" ")
}
