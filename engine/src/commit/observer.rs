//! Telling a program of the checkpoints of its job.

use std::fmt;
use std::sync::Arc;

use crate::journal::Checkpoint;
use crate::trace;

/// Who is told of checkpoints: called on the coordinator's thread, after all of a checkpoint is
/// durable. Two are equal if they are clones of one another.
///
/// ```
/// use ringpack::Observer;
/// use ringpack::write::WriteOptions;
///
/// let observer = Observer::new(|checkpoint| println!("{} bytes are safe", checkpoint.bytes));
/// let options = WriteOptions { observer, ..WriteOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct Observer(Option<Call>);

type Call = Arc<dyn Fn(&Checkpoint) + Send + Sync>;

impl Observer {
    /// Has `call` called for each checkpoint.
    pub fn new(call: impl Fn(&Checkpoint) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    pub(crate) fn tell(&self, checkpoint: &Checkpoint) {
        trace::covered(checkpoint.chunks, checkpoint.bytes);
        if let Some(call) = &self.0 {
            call(checkpoint);
        }
    }
}

impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

impl Eq for Observer {}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(..)" } else { "Observer(none)" })
    }
}
