//! kubelet's FlexVolume driver `nodeagent/uds`: a directory per pod, shared with the agent, in which
//! a pod finds the socket of policy sync (`calico-features.md` §10.6).
//!
//! ```text
//!  kubelet ──▶ uds init | mount DIRECTORY OPTIONS | unmount DIRECTORY
//!              mount:  DIRECTORY            a small file system in memory
//!                      DIRECTORY/nodeagent  = /var/run/nodeagent/mount/UID
//!                      /var/run/nodeagent/creds/UID.json says which pod that is
//! ```
//! Each call prints one JSON object (Kubernetes, "FlexVolume").

use linux::mount;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the agent and the pods' directories share, on the host.
const HOME: &str = "/var/run/nodeagent";
/// Bytes of a pod's file system, which has one directory.
const BYTES_MAX: u64 = 8 << 10;
/// Where kubelet's directory of drivers is mounted in a container, and the driver's name, by which it
/// knows that it is one.
const INSTALL_DIRECTORY: &str = "/host/driver";
const NAME: &str = "uds";
const EXECUTABLE: u32 = 0o550;

/// The part of kubelet's options that says which pod it is.
#[derive(Deserialize)]
struct Pod {
    #[serde(rename = "kubernetes.io/pod.uid")]
    uid: String,
    #[serde(rename = "kubernetes.io/pod.name", default)]
    name: String,
    #[serde(rename = "kubernetes.io/pod.namespace", default)]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceAccount.name", default)]
    service_account: String,
}

/// What went wrong, as kubelet shows it in the pod's events.
struct Failure {
    status: &'static str,
    message: String,
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { status: "Failure", message: message.into() }
}

/// Does what kubelet asks for, with the arguments after the program's name.
pub fn run_driver(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(("install", rest)) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return run_driver_install(rest.iter().map(OsString::from));
    }
    let (answer, code) = match answer(&arguments, Path::new(HOME)) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(Failure { status, message }) => {
            (json!({"status": status, "message": message}), ExitCode::FAILURE)
        }
    };
    println!("{answer}");
    code
}

fn answer(arguments: &[String], home: &Path) -> Result<Value, Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["init"] => Ok(json!({
            "status": "Success", "message": "Init ok.", "capabilities": {"attach": false},
        })),
        ["mount", directory, options, ..] => {
            let pod: Pod = serde_json::from_str(options).map_err(|why| {
                failure(format!("kubelet's options for {directory} name no pod: {why}"))
            })?;
            mount_for(&pod, Path::new(directory), home)?;
            Ok(json!({"status": "Success", "message": "Mount ok."}))
        }
        ["unmount", directory, ..] => {
            unmount(Path::new(directory), home)?;
            Ok(json!({"status": "Success", "message": "Unmount ok."}))
        }
        ["version"] => Ok(json!(model::VERSION)),
        _ => Err(Failure {
            status: "Not supported",
            message: format!("{arguments:?}: this driver does init, mount and unmount"),
        }),
    }
}

fn mount_for(pod: &Pod, directory: &Path, home: &Path) -> Result<(), Failure> {
    let shared = home.join("mount").join(checked(&pod.uid)?);
    let on_host = directory.join("nodeagent");
    make(&shared)?;
    mount::in_memory(directory, BYTES_MAX).map_err(|why| failure(why.to_string()))?;
    let rest = || {
        make(&on_host)?;
        mount::bind(&shared, &on_host).map_err(|why| failure(why.to_string()))?;
        let credentials = json!({
            "UID": pod.uid, "Workload": pod.name, "Namespace": pod.namespace,
            "ServiceAccount": pod.service_account,
        });
        let path = credentials_of(&pod.uid, home);
        linux::file::replace(&path, credentials.to_string().as_bytes())
            .map_err(|why| failure(format!("writing {}: {why}", path.display())))
    };
    rest().inspect_err(|_: &Failure| {
        // kubelet tries again, on a directory as it was; what is left it hears of then.
        let _ = mount::unmount(&on_host).and_then(|()| mount::unmount(directory));
    })
}

fn unmount(directory: &Path, home: &Path) -> Result<(), Failure> {
    let parts: Vec<_> = directory.iter().collect();
    // …/pods/UID/volumes/nodeagent~uds/NAME
    let uid = parts.iter().rev().nth(3).and_then(|uid| uid.to_str()).unwrap_or_default();
    let uid = checked(uid)?;
    for mounted in [&directory.join("nodeagent"), directory] {
        mount::unmount(mounted).map_err(|why| failure(why.to_string()))?;
    }
    for (path, removed) in [
        (credentials_of(uid, home), std::fs::remove_file(credentials_of(uid, home))),
        (home.join("mount").join(uid), std::fs::remove_dir_all(home.join("mount").join(uid))),
    ] {
        match removed {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                return Err(failure(format!("removing {}: {why}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A pod's identity, which becomes the name of a file.
fn checked(uid: &str) -> Result<&str, Failure> {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if uid.is_empty() || !uid.chars().all(usable) {
        return Err(failure(format!("{uid:?} is no pod's UID")));
    }
    Ok(uid)
}

fn credentials_of(uid: &str, home: &Path) -> PathBuf {
    home.join("creds").join(format!("{uid}.json"))
}

fn make(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|why| failure(format!("making {}: {why}", directory.display())))
}

/// Installs the driver on the host, where kubelet finds it: `/host/driver/uds`, unless
/// `--target PATH` (3.33's) or `-t DIRECTORY` and `-d NAME` (`flexvol.sh`'s) say otherwise.
pub fn run_driver_install(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let (mut directory, mut name) = (PathBuf::from(INSTALL_DIRECTORY), OsString::from(NAME));
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (option, value) = match text.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(OsString::from(value))),
            None => (text, arguments.next()),
        };
        let Some(value) = value else {
            eprintln!("{option} needs a value");
            return ExitCode::FAILURE;
        };
        match option.as_str() {
            "-t" => directory = value.into(),
            "-d" => name = value,
            "--target" => {
                let target = PathBuf::from(value);
                name = target.file_name().unwrap_or_default().to_owned();
                directory = target.parent().unwrap_or(Path::new("/")).to_owned();
            }
            // Where from: there is but one program to install.
            "-s" | "-i" => {}
            _ => {
                eprintln!("unknown option {option}: there are -t, -d, -s, -i and --target");
                return ExitCode::FAILURE;
            }
        }
    }
    match install(&directory.join(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn install(target: &Path) -> Result<(), String> {
    let shown = target.display();
    if target.file_name().is_none_or(|name| name != NAME) {
        return Err(format!(
            "{shown}: the driver's name must be {NAME}, by which it knows its task"
        ));
    }
    if !target.parent().is_some_and(Path::is_dir) {
        return Err(format!(
            "{shown}: there is no such directory; mount the host's \
             /usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds at \
             {INSTALL_DIRECTORY}"
        ));
    }
    let own = std::env::current_exe().map_err(|why| format!("finding this program: {why}"))?;
    linux::file::replace_by_copy(target, &own, EXECUTABLE)
        .map_err(|why| format!("installing {shown}: {why}"))?;
    println!("installed {shown}");
    Ok(())
}

#[cfg(test)]
mod tests;
