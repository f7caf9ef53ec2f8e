//! The versions of the CNI specification that the plugins speak.

use crate::error::{Code, Error};

/// A version of the CNI specification; later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
}

impl SpecVersion {
    /// Every version spoken, oldest first.
    pub(crate) const ALL: [SpecVersion; 6] = [
        SpecVersion::V0_1_0,
        SpecVersion::V0_2_0,
        SpecVersion::V0_3_0,
        SpecVersion::V0_3_1,
        SpecVersion::V0_4_0,
        SpecVersion::V1_0_0,
    ];
    /// The newest version spoken.
    pub(crate) const NEWEST: SpecVersion = SpecVersion::V1_0_0;

    /// The version as `cniVersion` has it. A configuration without one is of 0.1.0.
    ///
    /// # Errors
    /// Code 1, with the versions that are spoken.
    pub(crate) fn parse(text: &str) -> Result<SpecVersion, Error> {
        if text.is_empty() {
            return Ok(SpecVersion::V0_1_0);
        }
        SpecVersion::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let spoken = SpecVersion::ALL.map(SpecVersion::as_str).join(", ");
            Error::new(
                Code::Version,
                format!(
                    "cniVersion {text:?} is not supported: this plugin speaks {spoken}; \
                     set one of them as cniVersion in the file below /etc/cni/net.d"
                ),
            )
        })
    }

    /// As `cniVersion` has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V0_1_0 => "0.1.0",
            SpecVersion::V0_2_0 => "0.2.0",
            SpecVersion::V0_3_0 => "0.3.0",
            SpecVersion::V0_3_1 => "0.3.1",
            SpecVersion::V0_4_0 => "0.4.0",
            SpecVersion::V1_0_0 => "1.0.0",
        }
    }

    /// The answer to VERSION for a configuration of this version.
    pub(crate) fn report(self) -> String {
        serde_json::json!({
            "cniVersion": self.as_str(),
            "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
        })
        .to_string()
    }
}
