//! Which of the API server's collections a query reads, for who writes roles.

use super::place::{self, Group};
use model::Query;

/// A collection of the Kubernetes API, as a role names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    /// The API group; empty for the core's.
    pub group: String,
    /// The plural of its kind: `ippools`.
    pub resource: String,
}

/// The collections that a query lists and watches, in the layout `crd.projectcalico.org/v1`.
pub fn collections(query: &Query) -> Vec<Collection> {
    let of = |path: String| {
        let mut words = path.trim_start_matches('/').split('/');
        let group = match words.next() {
            Some("apis") => words.next().unwrap_or_default(),
            _ => "",
        };
        let resource = words.next_back().unwrap_or_default();
        Collection { group: group.to_owned(), resource: resource.to_owned() }
    };
    place::sources(Group::Crd, query).into_iter().map(|source| of(source.collection)).collect()
}
