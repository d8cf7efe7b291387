//! One command for several inputs: each by itself, and the exit code tells of the worst.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::exit::Failure;
use crate::names;
use crate::signals::Signals;

/// Does `one` for each of the inputs. An error of one is said and the others go on, unless the
/// program was told to stop; the code is the greatest.
pub(crate) fn each(
    inputs: &[PathBuf],
    output: Option<&Path>,
    signals: &Signals,
    mut one: impl FnMut(&Path) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    if let [input] = inputs {
        return one(input).map(|()| ExitCode::SUCCESS);
    }
    if output.is_some_and(|output| !names::is_standard_stream(output)) {
        let what = "several inputs can't have one output: leave --output (-o) out, and each has \
                    its own";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut code = 0;
    for input in inputs {
        if let Err(failure) = one(input) {
            if signals.cancel().is_cancelled() {
                return Err(failure);
            }
            code = code.max(failure.say(signals));
        }
    }
    Ok(ExitCode::from(code))
}
