//! What a user can set.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The settings of `calico datastore`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen: http://HOST:PORT, https://HOST:PORT or unix:///PATH; port 0 is any free one
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379"
    )]
    pub listen: Vec<String>,
    /// Directory of the database, made if missing
    #[arg(long, value_name = "DIR", default_value = "/var/lib/calico/datastore")]
    pub data_dir: PathBuf,
    /// Certificate (PEM) for https
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Authorities (PEM) that must have signed the certificates of https clients
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub trusted_ca_file: Option<PathBuf>,
    /// History kept for watches and reads of the past: a number of revisions, or a time (5m, 1h);
    /// 0 keeps all
    #[arg(long, value_name = "REVISIONS|TIME", default_value = "10000")]
    pub auto_compaction_retention: Retention,
}

impl Options {
    /// The defaults, for a database in `data_dir`, listening on any free port of 127.0.0.1.
    #[must_use]
    pub fn local(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: vec!["http://127.0.0.1:0".into()],
            data_dir: data_dir.into(),
            cert_file: None,
            key_file: None,
            trusted_ca_file: None,
            auto_compaction_retention: Retention::default(),
        }
    }
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// All of it.
    Everything,
    /// So many revisions.
    Revisions(u64),
    /// What happened in the last so many seconds.
    Time(Duration),
}

impl Default for Retention {
    /// 10,000 revisions: enough for any watch to resume after a restart, a few MiB of disk.
    fn default() -> Self {
        Self::Revisions(10_000)
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, seconds) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], Some(1)),
            Some((at, 'm')) => (&text[..at], Some(60)),
            Some((at, 'h')) => (&text[..at], Some(3600)),
            _ => (text, None),
        };
        let number: u64 = digits.parse().map_err(|_| {
            format!("{text:?} is neither a number of revisions (10000) nor a time (30s, 5m, 1h)")
        })?;
        Ok(match (number, seconds) {
            (0, _) => Self::Everything,
            (number, None) => Self::Revisions(number),
            (number, Some(seconds)) => {
                Self::Time(Duration::from_secs(number.saturating_mul(seconds)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Retention;
    use std::time::Duration;

    #[test]
    fn a_retention_is_revisions_or_a_time() {
        for (text, expected) in [
            ("0", Some(Retention::Everything)),
            ("0m", Some(Retention::Everything)),
            ("250", Some(Retention::Revisions(250))),
            ("30s", Some(Retention::Time(Duration::from_secs(30)))),
            ("5m", Some(Retention::Time(Duration::from_secs(300)))),
            ("2h", Some(Retention::Time(Duration::from_secs(7200)))),
            ("", None),
            ("m", None),
            ("-1", None),
            ("5é", None),
        ] {
            assert_eq!(text.parse::<Retention>().ok(), expected, "{text:?}");
        }
    }
}
