//! The log, on standard output; its level follows the settings.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, reload};

/// The level of what is logged.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<Targets, Registry>);

/// Starts logging at a level: `Debug`, `Info`, `Warning`, `Error`, `Fatal` or `None`, in any case.
pub(crate) fn start(level: &str) -> Level {
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = fmt::layer().with_ansi(false).with_target(false);
    let subscriber = Registry::default().with(filter).with(lines);
    // Tests in one process may have started logging already; theirs is as good.
    let _already_started = tracing::subscriber::set_global_default(subscriber);
    Level(handle)
}

impl Level {
    /// Goes on at another level.
    pub(crate) fn set(&self, level: &str) {
        // It fails only where logging has ended, with the process.
        let _ended = self.0.reload(targets(level));
    }
}

fn targets(level: &str) -> Targets {
    let level = match level.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warning" | "warn" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        "none" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    // Libraries log their own business at warn and above only.
    let libraries = ["tonic", "h2", "hyper", "tower", "hickory_resolver", "hickory_proto"];
    let quiet = libraries.map(|library| (library, LevelFilter::WARN.min(level)));
    Targets::new().with_default(level).with_targets(quiet)
}
