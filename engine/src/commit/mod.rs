//! Commit: how a file comes to stand under its name, whole or not at all.
//!
//! ```text
//! [partial, locked] ──► data durable ──► header final, durable ──► [published] ──► name durable
//!        │                    │                    │
//!        └────────────────────┴── any error ───────┴──► [removed], old target untouched
//! ```
//!
//! [`publication`] has the partial file and its way to the target's name; [`finalize`] what is
//! written last: index, seek table, header. Each step's result is checked before the next is
//! issued, because the kernel doesn't do it for us: a failed fsync breaks no chain of linked
//! operations (measured, see docs/decisions).

pub mod ahead;
pub mod finalize;
pub mod publication;

pub use ahead::{Ahead, Gate};
pub use finalize::{Finish, Sink};
pub use publication::{Partial, Target};
