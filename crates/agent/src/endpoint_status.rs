//! The files that tell other programs of the node which endpoints are routed.

use node::endpoint_status::EndpointStatuses;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Below `endpointStatusPathPrefix`.
const DIRECTORY: &str = "endpoint-status";

/// The files, as written last.
#[derive(Default)]
pub(crate) struct EndpointStatusFiles {
    directory: Option<PathBuf>,
    written: EndpointStatuses,
}

impl EndpointStatusFiles {
    /// Makes the directory below `prefix` say this, whatever an earlier agent left there. An empty prefix
    /// means no files.
    ///
    /// # Errors
    /// A file cannot be written or removed; the others are, and the next call tries again.
    pub(crate) fn show(&mut self, prefix: &str, endpoints: EndpointStatuses) -> io::Result<()> {
        let directory = (!prefix.is_empty()).then(|| Path::new(prefix).join(DIRECTORY));
        if self.directory != directory {
            if let Some(earlier) = self.directory.take() {
                keep_only(&earlier, &EndpointStatuses::new())?;
            }
            self.written.clear();
        }
        let Some(directory) = directory else { return Ok(()) };
        if self.directory.is_none() {
            fs::create_dir_all(&directory)?;
            keep_only(&directory, &endpoints)?;
            self.directory = Some(directory.clone());
        }
        let mut result = Ok(());
        let written = std::mem::take(&mut self.written);
        for name in written.keys().filter(|name| !endpoints.contains_key(*name)) {
            result = result.and(removed(&directory.join(name)));
        }
        for (name, status) in endpoints {
            let done = if written.get(&name) == Some(&status) {
                Ok(())
            } else {
                linux::file::replace(&directory.join(&name), &serde_json::to_vec(&status)?)
            };
            match done {
                Ok(()) => drop(self.written.insert(name, status)),
                Err(why) => result = result.and(Err(why)),
            }
        }
        result
    }
}

/// Removes what isn't of these endpoints.
fn keep_only(directory: &Path, endpoints: &EndpointStatuses) -> io::Result<()> {
    let names: BTreeSet<&str> = endpoints.keys().map(String::as_str).collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            removed(&entry.path())?;
        }
    }
    Ok(())
}

fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::endpoint_status::EndpointStatus;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory.join(DIRECTORY)).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_directory_says_what_is_routed_whatever_was_there() {
        let place = tempfile::tempdir().expect("a directory");
        let prefix = place.path().to_str().expect("text");
        fs::create_dir(place.path().join(DIRECTORY)).expect("made");
        fs::write(place.path().join(DIRECTORY).join("k8s gone eth0"), "{}").expect("written");
        let endpoint = |name: &str, interface: &str| {
            let iface_name = interface.to_owned();
            (name.to_owned(), EndpointStatus { iface_name, ..EndpointStatus::default() })
        };
        let mut files = EndpointStatusFiles::default();
        files.show(prefix, [endpoint("a", "cali1"), endpoint("b", "cali2")].into()).expect("shown");
        assert_eq!(names(place.path()), ["a", "b"]);
        files.show(prefix, [endpoint("b", "cali3")].into()).expect("shown");
        assert_eq!(names(place.path()), ["b"]);
        let text = fs::read_to_string(place.path().join(DIRECTORY).join("b")).expect("read");
        assert!(text.contains(r#""ifaceName":"cali3""#), "{text}");
        files.show("", [endpoint("b", "cali3")].into()).expect("shown");
        assert!(names(place.path()).is_empty());
    }
}
