//! What became of a run of `claiming-pack`, as a line that the laboratory reads.

use std::fmt;
use std::process::Output;

use ringpack::pack::PackReport;
use ringpack::{Error, ErrorKind};

/// What became of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Packed and published.
    Done {
        /// Bytes that were adopted from an interrupted run.
        adopted: u64,
        /// Bytes that its last checkpoint covered.
        covered: u64,
    },
    /// There was nothing to resume: no checkpoint, or a target that is complete.
    NotResumable,
    /// It failed, and said that so many bytes can be gone on with; 0 where it said nothing.
    Failed {
        /// In bytes of content.
        resumable: u64,
    },
}

impl Outcome {
    /// What a result of the library comes to.
    #[must_use]
    pub fn of(result: &Result<PackReport, Error>) -> Self {
        match result {
            Ok(report) => {
                let resumed = report.resumed;
                let (adopted, covered) =
                    resumed.map_or((0, 0), |it| (it.adopted_bytes, it.covered_bytes));
                Self::Done { adopted, covered }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotResumable | ErrorKind::Complete) => {
                Self::NotResumable
            }
            Err(error) => Self::Failed { resumable: error.resumable_bytes().unwrap_or(0) },
        }
    }

    /// What a run said of itself.
    ///
    /// # Errors
    /// What it said instead.
    pub fn read(output: &Output) -> Result<Self, String> {
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |text: &str| text.parse::<u64>().ok();
        let read = match *text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["done", adopted, covered] => number(adopted)
                .zip(number(covered))
                .map(|(adopted, covered)| Self::Done { adopted, covered }),
            ["not-resumable"] => Some(Self::NotResumable),
            ["failed", resumable] => number(resumable).map(|resumable| Self::Failed { resumable }),
            _ => None,
        };
        read.ok_or_else(|| format!("{} and {text:?}: {}", output.status, complaint(output)))
    }
}

/// What a program wrote to its standard error.
#[must_use]
pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { adopted, covered } => write!(f, "done {adopted} {covered}"),
            Self::NotResumable => f.write_str("not-resumable"),
            Self::Failed { resumable } => write!(f, "failed {resumable}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn what_is_written_is_read() {
        let said = |text: String| Output {
            status: ExitStatus::from_raw(0),
            stdout: text.into_bytes(),
            stderr: Vec::new(),
        };
        let done = Outcome::Done { adopted: 3, covered: 4 };
        for outcome in [done, Outcome::NotResumable, Outcome::Failed { resumable: 5 }] {
            assert_eq!(Outcome::read(&said(format!("{outcome}\n"))), Ok(outcome));
        }
        assert!(Outcome::read(&said(String::new())).is_err());
    }
}
