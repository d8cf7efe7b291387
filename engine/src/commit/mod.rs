//! Commit: how a file comes to stand under its name, whole or not at all.
//!
//! ```text
//! [partial, locked] ──► tail appended ──► durable ──► [published] ──► name durable
//!        │                    │              │
//!        └────────────────────┴── any error ─┴──► [removed], or kept with its checkpoint;
//!                                                  the old target untouched
//! ```
//!
//! [`publication`] has the partial file and its way to the [`target`]'s name; [`checkpoint`] what
//! is taken of it on the way, [`observer`] who is told, and [`resume`] how a later run finds it;
//! [`finalize`] what is written last: index, seek table, header; [`clean`] what is left of runs
//! that nobody goes on with. Each step's result is checked before the next is issued, because the
//! kernel doesn't do it for us: a failed fsync breaks no chain of linked operations (measured, see
//! docs/decisions).

pub mod ahead;
pub mod checkpoint;
pub mod clean;
pub mod finalize;
pub mod observer;
pub mod publication;
pub mod resume;
pub mod target;

pub use ahead::{Ahead, Gate};
pub use checkpoint::{Cadence, Checkpointer};
pub use finalize::{Finish, Sink};
pub use observer::Observer;
pub use publication::Partial;
pub use resume::{Found, Interrupted};
pub use target::Target;
