//! Values that are one word of a few.

use super::setting::{FromSetting, Setting};

macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// The words, as they are written.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }

        impl FromSetting for $name {
            fn from_setting(setting: &Setting) -> Option<$name> {
                match setting {
                    $(Setting::Text(text) if text == $word => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

choices! {
    /// Which cluster routes the agent computes from block affinities, beside VXLAN's, which it
    /// always does.
    ProgramClusterRoutes {
        /// None.
        Disabled = "Disabled",
        /// Those of pools with IP-in-IP.
        EnabledIpipOnly = "EnabledIPIPOnly",
        /// Those of pools without encapsulation.
        EnabledNoEncapOnly = "EnabledNoEncapOnly",
        /// All.
        Enabled = "Enabled",
    }

    /// The least severe messages that are logged.
    LogSeverity {
        /// Everything.
        Trace = "TRACE",
        /// What helps to find a mistake in the program.
        Debug = "DEBUG",
        /// What an operator may want to know.
        Info = "INFO",
        /// What an operator should look at.
        Warning = "WARNING",
        /// What failed.
        Error = "ERROR",
        /// What ended the program.
        Fatal = "FATAL",
    }

    /// What brings routes to other nodes.
    NetworkingBackend {
        /// BGP.
        Bird = "bird",
        /// VXLAN only: no BGP on this node.
        Vxlan = "vxlan",
        /// Nothing: somebody else routes.
        None = "none",
    }

    /// What happens to packets from a pod to its own host that policy allows the pod to send.
    EndpointToHostAction {
        /// They are dropped.
        Drop = "DROP",
        /// The host's own rules decide.
        Return = "RETURN",
        /// They may pass.
        Accept = "ACCEPT",
    }

    /// How packets that policy allows leave Calico's chains.
    AllowAction {
        /// For good: no other rule of the host sees them.
        Accept = "ACCEPT",
        /// The host's own rules decide.
        Return = "RETURN",
    }

    /// How packets that policy denies are refused.
    DenyAction {
        /// Without a word.
        Drop = "DROP",
        /// With an ICMP error.
        Reject = "REJECT",
    }

    /// Where Calico's rules stand among those of others.
    ChainInsertMode {
        /// Before them.
        Insert = "insert",
        /// After them.
        Append = "append",
    }

    /// What happens to packets for a service's address that nothing serves, which would loop.
    ServiceLoopPrevention {
        /// They are dropped.
        Drop = "Drop",
        /// They are refused with an ICMP error.
        Reject = "Reject",
        /// They are let go.
        Disabled = "Disabled",
    }

    /// Whether pods may ask to send from other addresses than their own.
    SourceSpoofing {
        /// They may not.
        Disabled = "Disabled",
        /// They may, by an annotation.
        Any = "Any",
    }

    /// On or off, for parameters that write it so.
    Switch {
        /// On.
        Enabled = "Enabled",
        /// Off.
        Disabled = "Disabled",
    }
}
