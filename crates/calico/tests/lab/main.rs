//! The product on real nodes: labs of its own binary, looked at with the kernel's tools.

mod adoption;
mod bird;
mod connections;
mod enforcement;
mod host_endpoints;
mod interop;
mod ipv6;
mod modes;
mod pods;
mod policy;
mod recovery;
mod support;
mod walkthrough;
