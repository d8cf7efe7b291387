//! wrong_input
