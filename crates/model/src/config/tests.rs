//! Tests of the registry and of resolution.
