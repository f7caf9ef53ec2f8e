//! The pure core of one node: datastore and kernel facts in, desired state and answers out.

pub mod api;
pub mod status;
