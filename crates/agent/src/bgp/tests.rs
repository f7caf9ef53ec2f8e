//! Two speakers, and what others do to one.
