//! Speakers among themselves.
