//! The command lines of kube-controllers and check-status, in Calico's spellings of before 3.33 and
//! since (`component kube-controllers kube-controllers-health -r`).

use std::path::PathBuf;

/// Where the status file is unless an argument says otherwise.
const STATUS_FILE: &str = "/status/status.json";

const USAGE: &str = "\
kube-controllers: frees addresses that no pod has, and what deleted nodes leave

  --status-file FILE    where its readiness is written (/status/status.json)
  --version             the version
  kube-controllers-health -r|-l [-f FILE]
                        what check-status does

Settings are environment variables (DATASTORE_TYPE, KUBECONFIG, ETCD_ENDPOINTS, ENABLED_CONTROLLERS,
LOG_LEVEL, AUTO_HOST_ENDPOINTS, SYNC_NODE_LABELS, HEALTH_ENABLED …) and the resource
KubeControllersConfiguration default; the variables win.";

const CHECK_USAGE: &str = "\
check-status: is kube-controllers at work?

  -r, --ready           is it ready?
  -l, --live            is it alive?
  -f, --file FILE       what it says (/status/status.json)
  -v, --version         the version";

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The controllers.
    Run {
        /// Where their readiness is written.
        status_file: PathBuf,
    },
    /// Whether they are ready, or at least at work.
    Check {
        /// Where their readiness is read.
        status_file: PathBuf,
        /// They are to be ready.
        ready: bool,
    },
    /// A text.
    Say(&'static str),
}

/// What the arguments after `kube-controllers` ask for.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn of_controllers(arguments: &[String]) -> Result<Wanted, String> {
    // Since 3.33 manifests have it in full, after an entry point that is `calico`.
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["component", "kube-controllers", ..] = words[..] {
        return of_controllers(&arguments[2..]);
    }
    if let [health, rest @ ..] = arguments
        && health == "kube-controllers-health"
    {
        return of_check(rest);
    }
    let mut status_file = PathBuf::from(STATUS_FILE);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (flag, value) = split(argument);
        match flag.trim_start_matches('-') {
            "status-file" => status_file = file(argument, value, &mut arguments)?,
            "version" | "v" => return Ok(Wanted::Say(model::VERSION)),
            "help" | "h" => return Ok(Wanted::Say(USAGE)),
            _ => return Err(format!("unknown argument {argument}\n\n{USAGE}")),
        }
    }
    Ok(Wanted::Run { status_file })
}

/// What the arguments after `check-status` ask for.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn of_check(arguments: &[String]) -> Result<Wanted, String> {
    let mut status_file = PathBuf::from(STATUS_FILE);
    let (mut ready, mut asks) = (false, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (flag, value) = split(argument);
        match flag.trim_start_matches('-') {
            "r" | "ready" | "rl" | "lr" => (ready, asks) = (true, true),
            "l" | "live" => asks = true,
            "f" | "file" => status_file = file(argument, value, &mut arguments)?,
            "v" | "version" => return Ok(Wanted::Say(model::VERSION)),
            "h" | "help" => return Ok(Wanted::Say(CHECK_USAGE)),
            _ => return Err(format!("unknown argument {argument}\n\n{CHECK_USAGE}")),
        }
    }
    match asks {
        true => Ok(Wanted::Check { status_file, ready }),
        false => Err(format!("No command specified to check-status\n\n{CHECK_USAGE}")),
    }
}

fn split(argument: &str) -> (&str, Option<&str>) {
    match argument.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (argument, None),
    }
}

fn file<'a>(
    argument: &str,
    value: Option<&str>,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<PathBuf, String> {
    let value = value.map(str::to_owned).or_else(|| rest.next().cloned());
    value.map(PathBuf::from).ok_or_else(|| format!("{argument} needs a file: {STATUS_FILE}, say"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn both_spellings_of_probes_are_understood() {
        let check = |file: &str, ready| Ok(Wanted::Check { status_file: file.into(), ready });
        for (line, ready) in [
            ("-r", true),
            ("-l", false),
            ("--ready", true),
            ("--live", false),
            ("-r -l", true),
            ("-l -r", true),
        ] {
            assert_eq!(of_check(&words(line)), check(STATUS_FILE, ready), "{line}");
            let newer = words(&format!("kube-controllers-health {line}"));
            assert_eq!(of_controllers(&newer), check(STATUS_FILE, ready), "{line}");
        }
        assert_eq!(of_check(&words("-r -f /tmp/s")), check("/tmp/s", true));
        assert_eq!(of_check(&words("-l --file=/tmp/s")), check("/tmp/s", false));
        for (line, said) in [("", "No command"), ("-r -f", "a file"), ("--banana", "--banana")] {
            let message = of_check(&words(line)).expect_err(line);
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn the_status_file_may_be_elsewhere() {
        let run = |file: &str| Ok(Wanted::Run { status_file: file.into() });
        assert_eq!(of_controllers(&[]), run(STATUS_FILE));
        assert_eq!(of_controllers(&words("component kube-controllers")), run(STATUS_FILE));
        assert_eq!(of_controllers(&words("--status-file /tmp/s")), run("/tmp/s"));
        assert_eq!(of_controllers(&words("-status-file=/tmp/s")), run("/tmp/s"));
        assert!(of_controllers(&words("--banana")).is_err());
    }
}
