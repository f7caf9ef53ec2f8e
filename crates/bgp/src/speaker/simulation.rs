//! A network of speakers in memory.
