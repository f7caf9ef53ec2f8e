//! The codec, from outside: its own way there and back, the RFCs' errors, hostile bytes, and
//! another implementation.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod differential;
mod display;
mod errors;
mod round_trips;
mod strategies;
mod tolerance;
