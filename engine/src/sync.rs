//! What threads share, as std has it, or as shuttle does, which tries every order of their steps.
//!
//! Only the modules that have models for it use this; `just orders` runs those. Shuttle knows
//! sequential consistency alone, which is what these modules ask for throughout: the arguments of
//! the placement table and of the event count rest on it. (Loom takes it for less, and finds a
//! deadlock in the event count that no machine has.)

#[cfg(ringpack_shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, atomic};
#[cfg(not(ringpack_shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, atomic};

/// Runs a model in every order of its threads' steps, or in the first so many where there are more,
/// and then in as many drawn by chance.
#[cfg(all(test, ringpack_shuttle))]
pub(crate) fn each_order(model: impl Fn() + Send + Sync + Clone + 'static) {
    const ORDERS_MAX: usize = 20_000;
    shuttle::check_dfs(model.clone(), Some(ORDERS_MAX));
    shuttle::check_random(model, ORDERS_MAX);
}
