//! The product on real nodes: labs of its own binary, looked at with the kernel's tools.

mod bird;
mod connections;
mod interop;
mod modes;
mod pods;
mod recovery;
mod support;
mod walkthrough;
