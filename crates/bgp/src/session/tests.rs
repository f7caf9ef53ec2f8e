//! Tables of the state machine.
