//! A plugin's failures, with the codes of the CNI specification ("Error", section 5).

use crate::version::SpecVersion;
use serde::Deserialize;

/// Why a plugin could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// What kind of failure.
    pub code: Code,
    /// The object, the likely cause and the next step.
    pub message: String,
}

/// The kind of a failure, as its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// 1: a version of the specification that isn't spoken.
    Version,
    /// 4: a variable of the environment is missing or wrong.
    Environment,
    /// 5: reading or writing failed.
    Io,
    /// 6: something is no JSON, or no JSON of the expected shape.
    Decoding,
    /// 7: the network configuration cannot be used.
    Configuration,
    /// 11: try again later.
    TryAgain,
    /// 100: the kernel refused.
    Kernel,
    /// 101: no address could be assigned.
    Addresses,
    /// 102: the agent refused.
    Agent,
    /// 103: CHECK found the container's network to be other than ADD left it.
    Check,
    /// Any other: what a delegated plugin said.
    Other(u32),
}

impl Code {
    /// Its number on the wire.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Code::Version => 1,
            Code::Environment => 4,
            Code::Io => 5,
            Code::Decoding => 6,
            Code::Configuration => 7,
            Code::TryAgain => 11,
            Code::Kernel => 100,
            Code::Addresses => 101,
            Code::Agent => 102,
            Code::Check => 103,
            Code::Other(number) => number,
        }
    }
}

impl Error {
    /// An error of this kind.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into() }
    }

    /// The same error, said to have happened while doing something.
    pub(crate) fn during(self, what: &str) -> Error {
        Error { code: self.code, message: format!("{what}: {}", self.message) }
    }

    /// What goes to standard output.
    pub(crate) fn to_json(&self, version: SpecVersion) -> String {
        serde_json::json!({
            "cniVersion": version.as_str(),
            "code": self.code.number(),
            "msg": self.message,
        })
        .to_string()
    }

    /// The error that a delegated plugin wrote, or `None` where it wrote none.
    pub(crate) fn from_json(text: &[u8]) -> Option<Error> {
        #[derive(Deserialize)]
        struct Written {
            #[serde(default)]
            code: u32,
            msg: String,
            #[serde(default)]
            details: String,
        }
        let written: Written = serde_json::from_slice(text).ok()?;
        let message = match written.details.is_empty() {
            true => written.msg,
            false => format!("{}; {}", written.msg, written.details),
        };
        let code = match written.code {
            11 => Code::TryAgain,
            number => Code::Other(number),
        };
        Some(Error { code, message })
    }
}

impl From<linux::Error> for Error {
    fn from(error: linux::Error) -> Error {
        Error::new(Code::Kernel, error.to_string())
    }
}
