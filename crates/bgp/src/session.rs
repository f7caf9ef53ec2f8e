//! One peer's state machine (RFC 4271, 8), both of its connections included.
